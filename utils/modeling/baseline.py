"""Word counts and logistic regression: the baseline, and a student of soft labels."""

import numpy as np
import pandas as pd
from scipy.sparse import vstack
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline, make_pipeline

C_VALUES = (0.1, 1, 10, 100)  # of the logistic regression: the larger, the less regularised


def fit_baseline(train: pd.DataFrame, c: float) -> Pipeline:
    """TF-IDF of words and pairs of neighbours, with logistic regression of `C` = c."""
    words = TfidfVectorizer(ngram_range=(1, 2), min_df=2, sublinear_tf=True)
    model = make_pipeline(words, LogisticRegression(C=c, max_iter=1000))
    return model.fit(train["text"], train["label"])


def fit_linear_student(train: pd.DataFrame, features: int, c: float) -> Pipeline:
    """The same model, of the `features` most frequent words and pairs, on soft labels.

    `train` has `text` and `probability` of positive. Each text counts for both classes, with that
    weight: the loss is then the cross-entropy with the soft labels (Hinton et al., 2015).
    """
    words = TfidfVectorizer(ngram_range=(1, 2), max_features=features, sublinear_tf=True)
    counts = words.fit_transform(train["text"])
    positive = train["probability"].to_numpy(float)
    regression = LogisticRegression(C=c, max_iter=1000)
    regression.fit(
        vstack([counts, counts]),
        np.repeat([1, 0], len(train)),
        sample_weight=np.concatenate([positive, 1 - positive]),
    )
    return make_pipeline(words, regression)


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
