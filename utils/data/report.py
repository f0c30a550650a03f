"""What the reviews are like, as notebook 01 saves and says it."""

import pandas as pd

from utils.data.reviews import Reviews
from utils.formatting import bullets
from utils.results import Run
from utils.text import MAX_TOKENS


def save_description(run: Run, reviews: Reviews, tokens: pd.Series) -> dict:
    """Counts, balance and lengths; `tokens` are those of each labelled review.

    Saved as `results/data.json`.
    """
    splits = {"training": reviews.train, "validation": reviews.validation, "test": reviews.test}
    result = {
        **reviews.provenance,
        "origin": reviews.origin,
        "counts": reviews.counts,
        "rows": {name: len(split) for name, split in splits.items()},
        "positive_share": {name: float(split["label"].mean()) for name, split in splits.items()},
        "tokens_mean": float(tokens.mean()),
        "tokens_median": float(tokens.median()),
        "share_over_limit": float((tokens > MAX_TOKENS).mean()),
    }
    run.save("data", result)
    return result


def described(result: dict) -> str:
    """What notebook 01 found."""
    rows = result["rows"]
    dropped = sum(count for name, count in result["counts"].items() if name.endswith("dropped"))
    return bullets([
        f"{rows['training']:,} reviews are for training, {rows['validation']:,} for validation and "
        f"{rows['test']:,} for testing.",
        f"{result['share_over_limit']:.1%} of the labelled reviews are longer than {MAX_TOKENS} "
        f"tokens. The median is {result['tokens_median']:.0f}.",
        f"{dropped:,} rows were dropped from training: duplicates, or texts that are also in the "
        "test split.",
        f"The hash of these reviews is `{result['reviews_sha256'][:12]}`, that of the split "
        f"`{result['split_sha256'][:12]}`. Every later result carries both.",
    ])  # fmt: skip
