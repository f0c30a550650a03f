"""The baseline: word counts and logistic regression."""

import pandas as pd
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline, make_pipeline

STRENGTHS = (0.1, 1, 10, 100)


def fit_baseline(train: pd.DataFrame, strength: float) -> Pipeline:
    """TF-IDF of words and pairs of neighbours, with logistic regression of `C` = strength."""
    words = TfidfVectorizer(ngram_range=(1, 2), min_df=2, sublinear_tf=True)
    model = make_pipeline(words, LogisticRegression(C=strength, max_iter=1000))
    return model.fit(train["text"], train["label"])


def choose_baseline(
    train: pd.DataFrame, validation: pd.DataFrame
) -> tuple[Pipeline, dict[float, float]]:
    """The baseline whose `C` labels most of validation rightly, and that accuracy for each `C`."""
    models = {strength: fit_baseline(train, strength) for strength in STRENGTHS}
    accuracy = {
        strength: float(model.score(validation["text"], validation["label"]))
        for strength, model in models.items()
    }
    return models[max(accuracy, key=accuracy.get)], accuracy


def count_words(baseline: Pipeline, words: list[str]) -> list[float]:
    """The weight that the baseline gives each word alone, wherever it stands."""
    vectorizer, regression = baseline
    tokens = vectorizer.build_tokenizer()
    weights = dict(zip(vectorizer.get_feature_names_out(), regression.coef_[0], strict=True))
    return [float(sum(weights.get(token, 0.0) for token in tokens(word.lower()))) for word in words]
