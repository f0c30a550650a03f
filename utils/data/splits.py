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
GROUP_DRAWS = 100


def split_test(frame: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame, str]:
    """A test for a source without one: whole groups where these are known, else half the rows."""
    if "group" in frame:
        train, test = _draw_groups(frame, GROUP_TEST_SHARE, left=2)
        return train, test, "It has no official split: whole groups, such as films, are the test."
    train, test = _split(frame, len(frame) - len(frame) // 2, (2, 1))
    how = "It has no official split: a seeded, stratified half is the test."
    return train.sort_index(), test.sort_index(), how


def draw(frame: pd.DataFrame, size: int, least: int = 1) -> pd.DataFrame:
    """A seeded sample with the class balance of the whole, and `least` of each class at least."""
    if size == len(frame):
        return frame
    return _split(frame, len(frame) - size, (least, 0))[0]


def draw_budget(frame: pd.DataFrame, labels: int) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Exactly `labels` rows as training and validation, which share no group."""
    size = round(labels * VALIDATION_SHARE)
    if "group" in frame:
        pool, validation_pool = _draw_groups(frame, VALIDATION_SHARE, left=1)
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
        pool, validation_pool = _split(draw(frame, labels, least=2), size, (1, 1))
    train, validation = draw(pool, labels - size), draw(validation_pool, size)
    return train.sort_index(), validation.sort_index()


def _draw_groups(frame: pd.DataFrame, share: float, left: int) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The rest and the drawn ones of whole groups.

    Each class is in so many of the groups that are left, and in one that is drawn: where the first
    draw has a rare class in one part alone, others are tried.
    """
    if frame["group"].nunique() < 2:
        raise InputError(
            "The column 'group' has too few values to keep whole groups in one split: "
            "rename it, or give reviews of more groups."
        )
    for seed in range(DRAW_SEED, DRAW_SEED + GROUP_DRAWS):
        splitter = GroupShuffleSplit(1, test_size=share, random_state=seed)
        rest, drawn = next(splitter.split(frame, groups=frame["group"]))
        parts = frame.iloc[sorted(rest)], frame.iloc[sorted(drawn)]
        groups = [part.groupby("label")["group"].nunique().reindex([0, 1]) for part in parts]
        if (groups[0] >= left).all() and (groups[1] >= 1).all():
            return parts
    raise InputError(
        "Whole groups cannot be split so that both parts have both classes: give reviews of more "
        "groups, or rename the column 'group'."
    )


def _split(
    frame: pd.DataFrame, size: int, least: tuple[int, int]
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The rest and a seeded, stratified draw of `size` rows.

    Each has so many of either class as `least` says: rounding would leave a rare class out.
    """
    counts = frame["label"].value_counts().reindex([0, 1], fill_value=0)
    if counts.min() < sum(least):
        raise InputError(
            f"There are {counts[0]} negative and {counts[1]} positive reviews to draw from, and "
            f"{sum(least)} of each are needed: give reviews of both classes."
        )
    if size == 1 or counts.min() == 1:  # one row cannot be of both classes
        rest = frame.sample(len(frame) - size, random_state=DRAW_SEED)
        drawn = frame.drop(rest.index)
    else:
        rest, drawn = train_test_split(
            frame, test_size=size, stratify=frame["label"], random_state=DRAW_SEED
        )
    drawn, rest = _filled_up(drawn, rest, least[1])
    rest, drawn = _filled_up(rest, drawn, least[0])
    return rest, drawn


def _filled_up(
    part: pd.DataFrame, other: pd.DataFrame, least: int
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """`part` with `least` rows of each class, exchanged for as many of `other`'s."""
    for label in (0, 1):
        lacking = least - int((part["label"] == label).sum())
        if lacking > 0:
            gained = other[other["label"] == label].head(lacking)
            given = part[part["label"] != label].tail(lacking)
            part = pd.concat([part.drop(given.index), gained])
            other = pd.concat([other.drop(gained.index), given])
    return part, other
