"""Figures of a training."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from sklearn.decomposition import PCA
from sklearn.metrics import silhouette_score

from utils.data.reviews import CLASSES
from utils.evaluation.metrics import share
from utils.plotting import GREY, HUES, OURS, PERCENT, points


def training_curves(result: dict) -> Figure:
    """Training loss by step; validation loss, and accuracy with its 95% interval, by epoch."""
    figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3.4))
    train, validation = pd.DataFrame(result["training_loss"]), pd.DataFrame(result["validation"])
    left.plot(train["epoch"], train["loss"], color=GREY, lw=0.7, alpha=0.6)
    smooth = train["loss"].rolling(9, min_periods=1, center=True).mean()
    left.plot(train["epoch"], smooth, color="#333333", label="training")
    left.plot(validation["epoch"], validation["loss"], "o-", color=OURS, label="validation")
    left.legend()
    left.set(xlabel="epoch", ylabel="cross-entropy", ylim=(0, None), xlim=(0, None))
    best, last = validation.loc[validation["loss"].idxmin()], validation.iloc[-1]
    overfits = best["epoch"] < last["epoch"]
    left.set_title(
        f"Validation loss rises after epoch {best['epoch']:.0f}"
        if overfits else "Validation loss falls to the end"
    )  # fmt: skip
    count = result["validation_reviews"]
    rows = [share(round(accuracy * count), count) for accuracy in validation["accuracy"]]
    points(right, validation["epoch"], rows, OURS, "-")
    right.annotate(f"{last['accuracy']:.1%}", (last["epoch"], last["accuracy"]), va="center",
                   xytext=(8, 0), textcoords="offset points", color=OURS)  # fmt: skip
    right.set(xlabel="epoch", ylabel="validation accuracy", xticks=validation["epoch"])
    right.margins(x=0.2)
    right.yaxis.set_major_formatter(PERCENT)
    falls = last["accuracy"] < best["accuracy"]
    right.set_title(
        f"Accuracy {'falls' if falls else 'does not fall'} after that"
        if overfits else "The last epoch is kept"
    )  # fmt: skip
    return figure


def cls_states(before: np.ndarray, after: np.ndarray, labels: np.ndarray) -> Figure:
    """The [CLS] states of some reviews before and after training, in two dimensions.

    Both are of shape (reviews, dim). Each is projected to its own two principal components (PCA).
    """
    figure, panels = plt.subplots(1, 2, figsize=(9, 4))
    apart = []
    for axes, states in zip(panels, (before, after), strict=True):
        places = PCA(2, random_state=0).fit_transform(states)
        for label, name in enumerate(CLASSES):
            x, y = places[labels == label].T
            axes.scatter(x, y, s=14, color=HUES[name], alpha=0.6, lw=0)
        apart.append(silhouette_score(states, labels))
        axes.set(xticks=[], yticks=[])
    panels[0].set(xlabel="first principal component", ylabel="second")
    panels[1].set(xlabel="first principal component")
    panels[0].set_title(f"Before training: silhouette {apart[0]:.2f}")
    panels[1].set_title(f"After: {apart[1]:.2f}")
    for label, name in enumerate(CLASSES):
        panels[1].text(0.98, 0.94 - 0.07 * label, name, color=HUES[name], ha="right",
                       transform=panels[1].transAxes)  # fmt: skip
    return figure
