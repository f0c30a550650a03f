"""The baseline: word counts and logistic regression."""

import pandas as pd
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline, make_pipeline

C_VALUES = (0.1, 1, 10, 100)  # of the logistic regression: the larger, the less regularised


def fit_baseline(train: pd.DataFrame, c: float) -> Pipeline:
    """TF-IDF of words and pairs of neighbours, with logistic regression of `C` = c."""
    words = TfidfVectorizer(ngram_range=(1, 2), min_df=2, sublinear_tf=True)
    model = make_pipeline(words, LogisticRegression(C=c, max_iter=1000))
    return model.fit(train["text"], train["label"])


def choose_baseline(
    train: pd.DataFrame, validation: pd.DataFrame
) -> tuple[Pipeline, dict[float, float]]:
    """The baseline whose `C` labels most of validation rightly, and that accuracy for each `C`."""
    models = {c: fit_baseline(train, c) for c in C_VALUES}
    accuracy = {
        c: float(model.score(validation["text"], validation["label"]))
        for c, model in models.items()
    }
    return models[max(accuracy, key=accuracy.get)], accuracy


def word_weights(baseline: Pipeline, words: list[str]) -> list[float]:
    """The weight that the baseline gives each word alone, wherever it stands."""
    vectorizer, regression = baseline
    tokens = vectorizer.build_tokenizer()
    weights = dict(zip(vectorizer.get_feature_names_out(), regression.coef_[0], strict=True))
    return [float(sum(weights.get(token, 0.0) for token in tokens(word.lower()))) for word in words]
