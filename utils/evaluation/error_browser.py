"""The error browser: a page of one file, to filter a model's errors by stars, length and more."""

import html
import json
from pathlib import Path

import numpy as np

from utils.data.reviews import CLASSES, Reviews
from utils.evaluation.calibration import confidence_and_right
from utils.files import write
from utils.results import Run
from utils.text import Tokens

PAGE = Path(__file__).with_suffix(".html")
CHARACTERS = 1200  # of a review
IN_NOTEBOOK = 150  # reviews, so that a notebook stays small


def browsed(reviews: Reviews, probabilities: np.ndarray, tokens: Tokens) -> list[dict]:
    """Rows of the page: every error, the most confident first, and as many correct predictions.

    `probabilities` of positive and `tokens` are those of the test's reviews, in their order.
    """
    test = reviews.test
    confidence, right = confidence_and_right(test["label"], probabilities)
    wrong = np.flatnonzero(~right)
    correct = np.flatnonzero(right)
    drawn = np.random.default_rng(0).permutation(correct)[: len(wrong)]
    rows = []
    for place in [*wrong[np.argsort(-confidence[wrong], kind="stable")], *drawn]:
        row = test.iloc[place]
        rated = row.get("rating")
        rows.append({
            "truth": CLASSES[row["label"]],
            "predicted": CLASSES[int(probabilities[place] >= 0.5)],
            "confidence": round(float(confidence[place]), 4),
            "stars": None if rated is None or np.isnan(rated) else float(rated),
            "tokens": int(tokens.lengths[place]),
            "text": row["text"][:CHARACTERS],
        })  # fmt: skip
    return rows


def page(rows: list[dict]) -> str:
    """The page as text. Reviews go in as JSON that no markup can end."""
    said = json.dumps(rows, ensure_ascii=False).replace("<", "\\u003c")
    return PAGE.read_text(encoding="utf-8").replace("ROWS", said, 1)


def save_browser(run: Run, rows: list[dict]) -> str:
    """Write `errors.html` into the run's folder, and return HTML for a notebook to show.

    The notebook holds a frame with IN_NOTEBOOK of the rows. GitHub's viewer leaves frames out.
    """
    path = run.folder / "errors.html"
    write(path, lambda file: file.write_text(page(rows), encoding="utf-8"))
    half = IN_NOTEBOOK // 2
    some = rows[:half] + rows[-half:] if len(rows) > IN_NOTEBOOK else rows
    inside = html.escape(page(some))
    return f'<iframe srcdoc="{inside}" width="100%" height="480" style="border: 0"></iframe>'
