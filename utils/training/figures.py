"""Figures of a training."""

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.figure import Figure

from utils.evaluation.metrics import share
from utils.plotting import GREY, OURS, PERCENT, points


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
        f"After epoch {best['epoch']:.0f} the validation loss rises,"
        if overfits else "The validation loss falls to the end"
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
        f"{'and accuracy falls' if falls else 'but accuracy does not fall'}: it grows overconfident"
        if overfits else "The last epoch is kept"
    )  # fmt: skip
    return figure
