"""What is drawn from the reviews: a test where there is none, and the budget of labels."""

import pandas as pd
from sklearn.model_selection import GroupShuffleSplit, train_test_split

from utils import InputError
from utils.settings import FEWEST_LABELS

# The draw is the same for every seed of training, so that seeds are compared on equal reviews.
DRAW_SEED = 0
VALIDATION_SHARE = 0.1  # of the label budget
# Share of the films whose snippets are the test: about 3,000 of 12,752 snippets.
GROUP_TEST_SHARE = 0.235


def split_test(frame: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame, str]:
    """A test for a source without one: whole groups where these are known, else half the rows."""
    if "group" in frame:
        train, test = _draw_groups(frame, GROUP_TEST_SHARE)
        return train, test, "It has no official split: whole groups, such as films, are the test."
    train, test = train_test_split(
        frame, test_size=0.5, stratify=_strata(frame), random_state=DRAW_SEED
    )
    how = "It has no official split: a seeded, stratified half is the test."
    return train.sort_index(), test.sort_index(), how


def draw(frame: pd.DataFrame, size: int) -> pd.DataFrame:
    """A seeded sample with the class balance of the whole."""
    if size == len(frame):
        return frame
    classes = _strata(frame)
    if size == len(frame) - 1:  # the one row left out cannot be of both classes
        return frame.sample(size, random_state=DRAW_SEED)
    drawn, _ = train_test_split(frame, train_size=size, stratify=classes, random_state=DRAW_SEED)
    return drawn


def draw_budget(frame: pd.DataFrame, labels: int) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Exactly `labels` rows as training and validation, which share no group."""
    size = round(labels * VALIDATION_SHARE)
    if "group" in frame:
        pool, validation_pool = _draw_groups(frame, VALIDATION_SHARE)
        largest = min(
            int(len(pool) / (1 - VALIDATION_SHARE)), int(len(validation_pool) / VALIDATION_SHARE)
        )
    else:
        pool = validation_pool = None
        largest = len(frame)
    if labels > largest:
        raise InputError(
            f"LABELS={labels}, but there are labels for {largest} at most: "
            + (
                f"set LABELS={largest}, or less."
                if largest >= FEWEST_LABELS
                else "give more reviews."
            )
        )
    if pool is None:
        drawn = draw(frame, labels)
        pool, validation_pool = train_test_split(
            drawn, test_size=size, stratify=_strata(drawn), random_state=DRAW_SEED
        )
    train, validation = draw(pool, labels - size), draw(validation_pool, size)
    return train.sort_index(), validation.sort_index()


def _draw_groups(frame: pd.DataFrame, share: float) -> tuple[pd.DataFrame, pd.DataFrame]:
    if frame["group"].nunique() < 2:
        raise InputError(
            "The column 'group' has too few values to keep whole groups in one split: "
            "rename it, or give reviews of more groups."
        )
    splitter = GroupShuffleSplit(1, test_size=share, random_state=DRAW_SEED)
    rest, drawn = next(splitter.split(frame, groups=frame["group"]))
    return frame.iloc[sorted(rest)], frame.iloc[sorted(drawn)]


def _strata(frame: pd.DataFrame) -> pd.Series:
    smallest = frame["label"].value_counts().reindex([0, 1], fill_value=0)
    if smallest.min() < 2:
        raise InputError(
            f"There are {smallest[0]} negative and {smallest[1]} positive reviews: "
            "give reviews of both classes."
        )
    return frame["label"]
