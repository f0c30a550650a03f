"""What a training found, as sentences for notebook 03 to show."""

from utils.evaluation.metrics import share
from utils.formatting import bullets, said


def trained(result: dict, before: float) -> str:
    """What notebook 03 found; `before` is the validation accuracy before training."""
    last, reviews = result["validation"][-1], result["validation_reviews"]
    versions = result["versions"]
    return bullets([
        f"Validation accuracy went from {before:.1%} to "
        f"**{said(share(round(last['accuracy'] * reviews), reviews))}** in {last['epoch']} epochs.",
        f"Training took {result['minutes']:.0f} minutes in {versions['precision']} on "
        f"{versions['processor']}, at {result['tokens_per_epoch']:,} tokens an epoch.",
    ])  # fmt: skip
