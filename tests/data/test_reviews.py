"""Sources, the drawn reviews, settings and results: what goes in, and what is refused and how."""

import errno
import json
import os
import re
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from conftest import as_acl, make_reviews, stored_frames
from datasets import ClassLabel, Dataset, Features, Value
from safetensors import SafetensorError

from utils import InputError
from utils.data import reviews as reviews_module
from utils.data import sources
from utils.data.reviews import load_reviews
from utils.data.sources import read_frame, read_source
from utils.files import write, write_folder
from utils.paths import ROOT
from utils.results import Run
from utils.settings import Settings, set_up
from utils.text import clean


def load(path, labels=100, **values):
    return load_reviews(Settings(source=str(path), labels=labels, **values))


def refusal(action, *arguments, **values) -> str:
    """The message with which the action refuses its input."""
    with pytest.raises(InputError) as caught:
        action(*arguments, **values)
    return str(caught.value)


# The same reviews, stored in every way that can be read.


def as_csv(folder, train, test):
    path = folder / "mine.csv"
    pd.concat([train, test])[["text", "label"]].to_csv(path, index=False)
    return path


def as_kaggle(folder, train, test):
    path = folder / "IMDB Dataset.csv"
    both = pd.concat([train, test])
    words = both["label"].map({0: "negative", 1: "positive"})
    pd.DataFrame({"review": both["text"], "sentiment": words}).to_csv(path, index=False)
    return path


def as_parquet(folder, train, test):
    train[["text", "label"]].to_parquet(folder / "train.parquet")
    test[["text", "label"]].to_parquet(folder / "test.parquet")
    return folder


def as_hub_download(folder, train, test):
    (folder / "plain_text").mkdir()
    features = Features({"text": Value("string"), "label": ClassLabel(names=["neg", "pos"])})
    parts = {"train-00000-of-00002": train[:90], "train-00001-of-00002": train[90:],
             "test-00000-of-00001": test}  # fmt: skip
    for name, part in parts.items():
        columns = part[["text", "label"]].to_dict("list")
        data = Dataset.from_dict(columns, features=features)
        data.to_parquet(folder / "plain_text" / f"{name}.parquet")
    return folder


def as_other_way_round(folder, train, test):
    """With class names in the files' metadata, of which the first is the positive one."""
    features = Features({"text": Value("string"), "label": ClassLabel(names=["Pos", "Neg"])})
    for split, part in (("train", train), ("test", test)):
        columns = {"text": part["text"].tolist(), "label": [1 - n for n in part["label"]]}
        Dataset.from_dict(columns, features=features).to_parquet(folder / f"{split}.parquet")
    return folder


def as_two_csvs(folder, train, test):
    train[["text", "label"]].astype({"label": float}).to_csv(folder / "train.csv", index=False)
    test[["text", "label"]].astype({"label": bool}).to_csv(folder / "test.csv.gz", index=False)
    return folder


def as_jsonl(folder, train, test):
    for split, part in (("train", train), ("test", test)):
        part[["text", "label"]].to_json(folder / f"{split}.jsonl", orient="records", lines=True)
    return folder


def as_shuffled(folder, train, test):
    return as_parquet(folder, *(f.sample(frac=1, random_state=3) for f in (train, test)))


def as_newlines(folder, train, test):
    frames = [f.assign(text=f["text"].str.replace("<br /><br />", "\n\n")) for f in (train, test)]
    return as_parquet(folder, *frames)


@pytest.fixture(scope="module")
def reviews_stored(tmp_path_factory):
    """The reviews loaded from each way of storing them."""
    loaded = {}

    def get(way):
        if way not in loaded:
            folder = tmp_path_factory.mktemp("source") / way.__name__
            folder.mkdir()
            loaded[way] = load(way(folder, *stored_frames()))
        return loaded[way]

    return get


@pytest.mark.parametrize(
    "way",
    [
        as_csv,
        as_kaggle,
        as_shuffled,
        as_newlines,
        as_acl,
        as_hub_download,
        as_other_way_round,
        as_two_csvs,
        as_jsonl,
    ],
)
def test_reviews_are_the_same_however_they_are_stored(reviews_stored, way):
    assert reviews_stored(way).reviews_sha256 == reviews_stored(as_parquet).reviews_sha256


@pytest.mark.parametrize(
    ("way", "same"), [(as_shuffled, as_parquet), (as_newlines, as_parquet), (as_acl, as_parquet),
                      (as_hub_download, as_parquet), (as_other_way_round, as_parquet),
                      (as_kaggle, as_csv)]
)  # fmt: skip
def test_so_is_the_split(reviews_stored, way, same):
    found, expected = reviews_stored(way), reviews_stored(same)
    assert found.split_sha256 == expected.split_sha256
    assert found.training_sha256 == expected.training_sha256
    columns = ["text", "label"]
    for split in ("train", "validation", "test"):
        pd.testing.assert_frame_equal(
            getattr(found, split)[columns], getattr(expected, split)[columns]
        )


@pytest.mark.parametrize("change", ["a label", "a word"])
def test_any_change_gives_another_hash(reviews_stored, tmp_path, change):
    train, test = stored_frames()
    if change == "a label":
        test.loc[7, "label"] = 1
    else:
        test.loc[7, "text"] += " Truly."
    changed = load(as_parquet(tmp_path, train, test))
    assert changed.reviews_sha256 != reviews_stored(as_parquet).reviews_sha256
    assert changed.split_sha256 != reviews_stored(as_parquet).split_sha256


@pytest.mark.parametrize("way", [as_csv, as_parquet])
def test_the_budget_is_met_exactly_with_both_classes(reviews_stored, way):
    reviews = reviews_stored(way)
    assert reviews.train["label"].value_counts().to_dict() == {0: 45, 1: 45}
    assert reviews.validation["label"].value_counts().to_dict() == {0: 5, 1: 5}
    texts = [*reviews.train["text"], *reviews.validation["text"], *reviews.test["text"]]
    assert len(set(texts)) == len(texts)


def test_a_source_without_a_split_says_that_half_is_the_test(reviews_stored):
    reviews = reviews_stored(as_csv)
    assert reviews.test["label"].value_counts().to_dict() == {0: 75, 1: 75}
    assert "mine.csv" in reviews.origin
    assert "half is the test" in reviews.origin
    assert "half" not in reviews_stored(as_parquet).origin


def test_ratings_come_from_the_file_names(reviews_stored):
    reviews = reviews_stored(as_acl)
    ratings = {
        clean(row.text): row.rating for frame in stored_frames() for row in frame.itertuples()
    }
    for frame in (reviews.train, reviews.validation, reviews.test):
        assert frame["rating"].to_list() == [ratings[text] for text in frame["text"]]


def test_stars_out_of_five_are_never_taken_for_stars_out_of_ten(tmp_path):
    frame = make_reviews(200).assign(rating=lambda f: 1 + 4 * f["label"])
    frame.to_csv(tmp_path / "rated.csv", index=False)
    reviews = load(tmp_path / "rated.csv", labels=50)
    assert set(reviews.test["rating"]) == {2, 10}
    assert "out of five, and doubled" in reviews.origin


def test_a_missing_rating_is_missing_and_the_row_stays(tmp_path):
    frame = make_reviews(200).assign(rating=lambda f: [9.0 if n else None for n in f["label"]])
    frame.to_csv(tmp_path / "rated.csv", index=False)
    reviews = load(tmp_path / "rated.csv", labels=50)
    assert reviews.counts["found"] == 200
    rated = reviews.test.groupby("label")["rating"].count()
    assert rated.to_dict() == {0: 0, 1: int((reviews.test["label"] == 1).sum())}
    frame.assign(rating=None).to_csv(tmp_path / "none.csv", index=False)
    assert "rating" not in load(tmp_path / "none.csv", labels=50).test


@pytest.mark.parametrize(
    ("ratings", "why"),
    [((12, 87), "not one of 0 to 10 stars"), ((0.1, 0.9), "the highest rating is 0.9"),
     ((1, 4), "the highest rating is 4"), ((9, 2), "are the other way round"),
     ((1, "PG-13"), "the rating is not a number")],
)  # fmt: skip
def test_ratings_of_another_scale_are_refused(tmp_path, ratings, why):
    frame = make_reviews(200).assign(rating=lambda f: [ratings[n] for n in f["label"]])
    frame.to_csv(tmp_path / "rated.csv", index=False)
    assert why in refusal(load, tmp_path / "rated.csv", labels=50)


def test_names_of_columns_and_of_the_positive_label_can_be_said(tmp_path):
    frame = next(stored_frames())
    frame[["text", "label"]].to_csv(tmp_path / "usual.csv", index=False)
    odd = pd.DataFrame({"Body": frame["text"], "text": "a title",
                        "verdict": frame["label"].map({0: "rotten", 1: "Fresh"})})  # fmt: skip
    odd.to_csv(tmp_path / "odd.csv", index=False, sep="\t")
    said = dict(text_column="Body", label_column="verdict", separator="\t")
    found = load(tmp_path / "odd.csv", 50, **said, positive="fresh")
    assert found.reviews_sha256 == load(tmp_path / "usual.csv", 50).reviews_sha256
    usual = dict(text_column="text", label_column="label", positive="1")
    assert load(tmp_path / "usual.csv", 50, **usual).reviews_sha256 == found.reviews_sha256
    assert "POSITIVE" in refusal(load, tmp_path / "odd.csv", 50, **said)
    message = refusal(load, tmp_path / "odd.csv", 50, **said, positive="good")
    assert "POSITIVE=good: the labels are fresh, rotten" in message
    assert "SEPARATOR='tab'" in refusal(load, tmp_path / "odd.csv", 50)


def test_class_names_that_are_not_known_are_asked_for(tmp_path):
    features = Features({"text": Value("string"), "label": ClassLabel(names=["fresh", "rotten"])})
    frame = next(stored_frames())
    columns = {"text": frame["text"].tolist(), "label": [1 - n for n in frame["label"]]}
    Dataset.from_dict(columns, features=features).to_parquet(tmp_path / "mine.parquet")
    assert "POSITIVE" in refusal(load, tmp_path / "mine.parquet", 50)
    frame[["text", "label"]].to_csv(tmp_path / "usual.csv", index=False)
    found = load(tmp_path / "mine.parquet", 50, positive="fresh")
    assert found.reviews_sha256 == load(tmp_path / "usual.csv", 50).reviews_sha256


def test_class_names_of_kaggles_column_decide_too(tmp_path):
    features = Features({"review": Value("string"), "sentiment": ClassLabel(names=["pos", "neg"])})
    frame = next(stored_frames())
    columns = {"review": frame["text"].tolist(), "sentiment": [1 - n for n in frame["label"]]}
    Dataset.from_dict(columns, features=features).to_parquet(tmp_path / "mine.parquet")
    frame[["text", "label"]].to_csv(tmp_path / "usual.csv", index=False)
    found = load(tmp_path / "mine.parquet", 50)
    assert found.reviews_sha256 == load(tmp_path / "usual.csv", 50).reviews_sha256


def test_class_names_of_one_split_alone_are_refused(tmp_path):
    train, test = stored_frames()
    as_other_way_round(tmp_path, train, test)
    (tmp_path / "test.parquet").unlink()
    test[["text", "label"]].to_csv(tmp_path / "test.csv", index=False)
    assert "names its classes (Pos, Neg), and test.csv otherwise or not" in refusal(load, tmp_path)


def test_splits_of_two_rating_scales_are_refused(tmp_path):
    train, test = stored_frames()
    train["rating"] = 1 + 4 * train["label"]
    for split, part in (("train", train), ("test", test)):
        part.to_parquet(tmp_path / f"{split}.parquet")
    assert "one has 5 stars at most, the other more" in refusal(load, tmp_path)


def test_text_files_in_pos_and_neg_need_no_split_and_no_rating(tmp_path):
    frame = next(stored_frames())
    for number, row in enumerate(frame.itertuples()):
        path = tmp_path / "mine" / ("neg", "pos")[row.label] / f"cv{number}_29590.txt"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(row.text, encoding="utf-8")
    (tmp_path / "mine" / "pos" / "page.html").write_text("<p>Fine.</p>")
    frame[["text", "label"]].to_csv(tmp_path / "usual.csv", index=False)
    found = load(tmp_path / "mine", 50)
    assert found.reviews_sha256 == load(tmp_path / "usual.csv", 50).reviews_sha256
    assert "rating" not in found.test
    assert "Left out: mine/pos/page.html." in found.origin


def test_other_tables_beside_a_split_are_named(tmp_path):
    path = as_parquet(tmp_path, *stored_frames())
    (path / "validation.csv").write_text("text,label\n")
    assert "Left out: validation.csv." in load(path).origin


def test_a_rare_class_is_in_every_split(tmp_path):
    frame = make_reviews(600)
    frame = frame[(frame["label"] == 0) | (frame.index > 594)]  # 300 negative, 5 positive
    frame.to_csv(tmp_path / "few.csv", index=False)
    message = refusal(load, tmp_path / "few.csv", 4000)
    assert "few has 300 negative and 5 positive reviews" in message
    largest = int(re.search(r"set LABELS=(\d+), or less", message)[1])
    for labels in (largest, largest - 1, 100, 20):
        reviews = load(tmp_path / "few.csv", labels)
        assert len(reviews.train) + len(reviews.validation) == labels
        for part in (reviews.train, reviews.validation, reviews.test):
            assert part["label"].nunique() == 2


def test_a_rare_class_of_few_films_is_in_every_split(tmp_path):
    frame = make_reviews(600).assign(group=[f"film {n % 60}" for n in range(600)])
    frame = frame[(frame["label"] == 0) | frame["group"].isin(["film 1", "film 2", "film 3"])]
    frame.to_csv(tmp_path / "few.csv", index=False)
    reviews = load(tmp_path / "few.csv", 60)
    for part in (reviews.train, reviews.validation, reviews.test):
        assert part["label"].nunique() == 2


def test_a_rating_without_end_is_no_rating(tmp_path):
    frame = next(stored_frames()).assign(rating="inf")
    frame.to_csv(tmp_path / "rated.csv", index=False)
    assert "the rating is not a number" in refusal(load, tmp_path / "rated.csv", labels=50)


def test_the_ending_of_a_files_name_may_be_in_capitals(tmp_path):
    next(stored_frames()).to_csv(tmp_path / "Reviews.CSV", index=False)
    assert len(load(tmp_path / "Reviews.CSV", labels=50).validation) == 5


def test_ratings_of_a_csv_are_numbers_too(tmp_path):
    train, _ = stored_frames()
    train.to_csv(tmp_path / "rated.csv", index=False)
    ratings = load(tmp_path / "rated.csv", labels=50).test["rating"]
    assert set(ratings) == {1, 2, 3, 4, 7, 8, 9, 10}


def test_duplicates_leave_training_but_stay_marked_in_test(tmp_path):
    train, test = stored_frames()
    train_twice = train.head(5).assign(text=lambda f: f["text"].str.replace("<br />", "\n"))
    train = pd.concat([train, train_twice, test.tail(4)])
    test = pd.concat([test, test.head(3)])
    reviews = load(as_parquet(tmp_path, train, test), labels=200)

    drawn = [*reviews.train["text"], *reviews.validation["text"]]
    assert len(set(drawn)) == len(drawn) == 200
    assert not set(drawn) & set(reviews.test["text"])
    assert len(reviews.test) == 103
    repeated = reviews.test[reviews.test["duplicate"]]
    assert set(repeated["text"]) == {clean(text) for text in test["text"].head(3)}
    assert len(repeated) == 3
    assert reviews.counts == {
        "found": 312,
        "with_both_labels_dropped": 0,
        "duplicates_dropped": 5,
        "also_in_test_dropped": 4,
        "duplicates_in_test": 3,
    }


def test_a_text_that_comes_with_both_labels_is_left_out_whole(tmp_path):
    train, test = stored_frames()
    contested = train.head(3).assign(label=1 - train["label"].head(3))
    reviews = load(as_parquet(tmp_path, pd.concat([train, contested]), test), labels=150)
    texts = pd.concat([reviews.train, reviews.validation, reviews.unused])["text"]
    assert not set(texts) & {clean(text) for text in contested["text"]}
    assert reviews.counts["with_both_labels_dropped"] == 6


def test_a_given_test_size_is_drawn_with_the_balance_of_the_whole(tmp_path):
    train, test = stored_frames()
    path = as_parquet(tmp_path, train, test.drop(index=range(20)))  # 30 negative, 50 positive
    test = load(path, test_size=40).test
    assert test["label"].value_counts().to_dict() == {1: 25, 0: 15}


def test_no_text_of_a_drawn_test_has_only_its_copy_marked(tmp_path):
    train, test = stored_frames()
    reviews = load(as_parquet(tmp_path, train, pd.concat([test, test])), test_size=60)
    once = reviews.test[~reviews.test["duplicate"]]
    assert set(once["text"]) == set(reviews.test["text"])


def test_a_slow_processor_scores_a_part_of_a_large_test(tmp_path, monkeypatch):
    path = tmp_path / "large.csv"
    make_reviews(4400).to_csv(path, index=False)
    monkeypatch.setattr(reviews_module, "device", lambda: torch.device("cpu"))
    monkeypatch.setattr(reviews_module, "precision", lambda: ("bf16", "the CPU has AMX"))
    whole = load(path)
    monkeypatch.setattr(reviews_module, "precision", lambda: ("fp32", "the CPU is old"))
    part = load(path)
    assert len(part.test) == 2000 < len(whole.test)
    assert "2,000 of the" in part.origin
    assert "the CPU is old" in part.origin
    assert part.training_sha256 == whole.training_sha256
    assert part.split_sha256 != whole.split_sha256


# The reviews inside the embedded package.


@pytest.fixture(scope="module")
def embedded():
    try:
        version(sources.EMBEDDED_PACKAGE)
    except PackageNotFoundError:
        pytest.skip(f"{sources.EMBEDDED_PACKAGE} is not installed")
    return load_reviews(Settings(source="embedded"))


def test_embedded_reviews(embedded):
    assert embedded.title == "Rotten Tomatoes snippets"
    assert embedded.name == "rotten-tomatoes"
    assert embedded.counts["found"] == 12808
    assert embedded.counts["duplicates_dropped"] == 56
    assert (len(embedded.train), len(embedded.validation)) == (3600, 400)
    assert "whole groups, such as films, are the test" in embedded.origin


def test_no_film_is_in_two_splits(embedded):
    films = [set(f["group"]) for f in (embedded.train, embedded.validation, embedded.test)]
    assert all(films)
    assert len(set.union(*films)) == sum(map(len, films))


def test_without_the_package_the_message_says_how_to_install_it(monkeypatch):
    monkeypatch.setattr(sources, "EMBEDDED_PACKAGE", "no-such-package-here")
    message = refusal(load, "embedded")
    assert "no-such-package-here" in message
    assert "requirements-embedded.txt" in message


def test_without_the_hub_the_message_says_what_else_to_use(monkeypatch):
    def load_dataset(*_, **__):
        raise ConnectionError("no route")

    monkeypatch.setattr(sources, "require_hub", lambda *_: None)
    monkeypatch.setattr(sources, "load_dataset", load_dataset)
    message = refusal(load, "hub")
    assert "stanfordnlp/imdb" in message
    assert "no route" in message
    assert "SOURCE=embedded" in message


# What cannot be used is refused with a message that says where and what to do.

BAD_FILES = {
    "other columns": ("bad.csv", b"film,stars\nHeat,5\n", "bad.csv", "film, stars", "'text' and"),
    "unknown sentiment": (
        "bad.csv", b"review,sentiment\nfine,positive\nso-so,mixed\n",
        "bad.csv, data row 2", "'mixed'", "use 0 or negative",
    ),
    "empty text": (
        "bad.csv", b'text,label\nfine,1\nfine,1\n"  ",0\n', "bad.csv, data row 3", "text is empty"
    ),
    "nothing but a line break": (
        "bad.csv", b"text,label\nfine,1\n<br />,0\n", "bad.csv, data row 2", "text is empty"
    ),
    "no token": (
        "bad.csv", b"text,label\nfine,1\n\xe2\x80\x8b,0\n", "bad.csv, data row 2", "text is empty"
    ),
    "a label left blank": (
        "bad.csv", b"text,label\nfine,1.0\ndull,0.0\nso,\n", "bad.csv, data row 3 (label '')",
        "the label is missing (1 such rows)",
    ),
    "three labels": (
        "bad.csv", b"text,label\nfine,2\nso,1\ndull,0\n", "data row 1 (label '2')", "POSITIVE=",
    ),
    "a line that is no object": (
        "bad.jsonl", b'{"text": "fine", "label": 1}\n{"text": "du\n', "bad.jsonl, data row 2",
        "not a JSON object",
    ),
    "empty group": (
        "bad.csv", b"text,label,group\nfine,1,Heat\ndull,0,\n", "bad.csv, data row 2",
        "the group is missing",
    ),
    "not UTF-8": (
        "bad.csv", b"text,label\nfine,1\nfa\xe7ade,0\n", "bad.csv, data row 2",
        "save the file as UTF-8",
    ),
    "CSV cut short": ("bad.csv", b'text,label\nfine,1\n"dul', "bad.csv, row in line 3"),
    "open quote": (  # which would make one review of three
        "bad.csv", b'text,label\n"great,1\ndull,0\nawful "thing",0\n', "bad.csv, row in line 2",
        "a quote is written twice",
    ),
    "commas without quotes": (
        "bad.csv", b"text,label\nfine,1\ndull, so dull,0\n", "bad.csv, data row 2",
        "not the header's 2 fields", "in quotes",
    ),
    "empty file": ("bad.csv", b"", "bad.csv", "must name the columns"),
    "one class": (
        "bad.csv", b"text,label\n" + b"".join(b"film %d,1\n" % n for n in range(60)),
        "0 negative and 60 positive", "both classes",
    ),
    "another separator": (
        "bad.csv", b"text;label\nfine, or so;1\n", "one column, named 'text;label'",
        "separated by ';'", "SEPARATOR=';'",
    ),
    "other ending": ("bad.xlsx", b"PK", "bad.xlsx", ".csv, .tsv, .jsonl"),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD_FILES)
def test_bad_file(name, tmp_path):
    filename, content, *expected = BAD_FILES[name]
    (tmp_path / filename).write_bytes(content)
    message = refusal(load, tmp_path / filename, labels=20)
    for words in expected:
        assert words in message


def no_such_path(folder):
    return folder / "nowhere"


def empty_folder(folder):
    return folder


def no_test_file(folder):
    as_parquet(folder, *stored_frames())
    (folder / "test.parquet").unlink()
    return folder


def parquet_cut_short(folder):
    as_parquet(folder, *stored_frames())
    path = folder / "train.parquet"
    path.write_bytes(path.read_bytes()[:1000])
    return folder


def one_class_in_training(folder):
    train, test = stored_frames()
    return as_parquet(folder, train[train["label"] == 1], test)


def one_class_in_test(folder):
    train, test = stored_frames()
    return as_parquet(folder, train, test[test["label"] == 1])


def no_second_shard(folder):
    as_hub_download(folder, *stored_frames())
    (folder / "plain_text" / "train-00001-of-00002.parquet").unlink()
    return folder


def shards_of_two_counts(folder):
    as_hub_download(folder, *stored_frames())
    inner = folder / "plain_text"
    (inner / "train-00001-of-00002.parquet").rename(inner / "train-00001-of-00003.parquet")
    return folder


def two_of_training(folder):
    as_parquet(folder, *stored_frames())
    (folder / "train.csv").write_text("text,label\n")
    return folder


def two_configurations(folder):
    for name in ("a", "b"):
        (folder / name).mkdir()
        as_parquet(folder / name, *stored_frames())
    return folder


def acl_without_negatives(folder):
    train, test = stored_frames()
    return as_acl(folder, train, test[test["label"] == 1])


def acl_without_a_rating(folder):
    as_acl(folder, *stored_frames())
    (folder / "train" / "pos" / "500.txt").write_text("Fine.")
    return folder


def acl_with_a_word_as_rating(folder):
    as_acl(folder, *stored_frames())
    (folder / "train" / "pos" / "500_good.txt").write_text("Fine.")
    return folder


def acl_not_utf8(folder):
    as_acl(folder, *stored_frames())
    (folder / "test" / "neg" / "500_1.txt").write_bytes(b"fa\xe7ade")
    return folder


def all_of_one_film(folder):
    train, _ = stored_frames()
    train.assign(group="Heat").to_csv(folder / "heat.csv", index=False)
    return folder / "heat.csv"


@pytest.mark.parametrize(
    ("make", "expected"),
    [
        (no_such_path, ["nowhere", "no such file or folder"]),
        (empty_folder, ["train.parquet", "test.parquet", "train/pos", "aclImdb"]),
        (no_test_file, ["test.parquet is missing"]),
        (parquet_cut_short, ["train.parquet", "get it again"]),
        (one_class_in_training, ["0 negative and 100 positive", "both classes"]),
        (no_second_shard, ["1 of the 2 files of train"]),
        (shards_of_two_counts, ["2 of the 2 files of train", "get the others"]),
        (two_of_training, ["train.csv and train.parquet: keep one"]),
        (two_configurations, ["a, b have a training split each"]),
        (one_class_in_test, ["test has one class only", "give reviews of both"]),
        (acl_without_negatives, ["test/neg", "ID_RATING.txt"]),
        (acl_without_a_rating, ["train/pos/500.txt", "ID_RATING"]),
        (acl_with_a_word_as_rating, ["train/pos/500_good.txt", "ID_RATING"]),
        (acl_not_utf8, ["test/neg/500_1.txt", "UTF-8"]),
        (all_of_one_film, ["group"]),
    ],
)
def test_bad_source(make, expected, tmp_path):
    message = refusal(load, make(tmp_path))
    for words in expected:
        assert words in message


def test_a_review_that_reads_like_a_missing_value_is_kept(tmp_path):
    path = tmp_path / "short.csv"
    pd.concat([make_reviews(60), pd.DataFrame({"text": ["NA", "null"], "label": 0})]).to_csv(
        path, index=False
    )
    assert load(path, labels=20).counts["found"] == 62


def test_a_second_column_of_labels_does_no_harm(tmp_path):
    path = tmp_path / "both.csv"
    make_reviews(200).assign(sentiment="0.7", review="by me").to_csv(path, index=False)
    assert load(path).train["label"].nunique() == 2


def of_films(folder):
    path = folder / "films.csv"
    frame = make_reviews(1000).assign(group=[f"film {n % 62}" for n in range(1000)])
    frame.sample(762, random_state=62).to_csv(path, index=False)
    return path


@pytest.mark.parametrize("make", [lambda f: as_parquet(f, *stored_frames()), of_films],
                         ids=["reviews", "films"])  # fmt: skip
def test_the_largest_budget_that_is_named_can_be_had(make, tmp_path):
    path = make(tmp_path)
    message = refusal(load, path, labels=5000)
    largest = int(re.search(r"set LABELS=(\d+), or less", message)[1])
    assert "LABELS=5000" in message
    for labels in (largest, largest - 1, largest - 2):
        reviews = load(path, labels=labels)
        assert len(reviews.train) + len(reviews.validation) == labels
    assert f"LABELS={largest}" in refusal(load, path, labels=largest + 1)


def test_the_largest_test_that_is_named_can_be_had(tmp_path):
    path = as_parquet(tmp_path, *stored_frames())
    assert "set TEST_SIZE=100, or less" in refusal(load, path, test_size=101)
    for size in (100, 99, 98):
        assert len(load(path, test_size=size).test) == size


def test_no_setting_is_advised_that_would_be_refused(tmp_path):
    path = tmp_path / "tiny.csv"
    make_reviews(24).to_csv(path, index=False)
    for advised in re.findall(r"set LABELS=(\d+)", refusal(load, path)):
        Settings.read(labels=advised)


# Settings.


@pytest.mark.parametrize(
    ("name", "value"),
    [("LABELS", "abc"), ("LABELS", "19"), ("LABELS", "1e3"), ("LABELS", "auto"), ("SEED", "-1"),
     ("SEED", str(2**32)), ("TEST_SIZE", "0"), ("TEST_SIZE", "half")],
)  # fmt: skip
@pytest.mark.parametrize("given", ["environment", "arguments"])
def test_bad_setting(monkeypatch, name, value, given):
    if given == "environment":
        monkeypatch.setenv(name, value)
        message = refusal(Settings.read)
    else:
        message = refusal(Settings.read, **{name.lower(): value})
    assert f"{name}={value}" in message
    assert "a whole number" in message


def test_the_environment_wins_over_the_arguments(monkeypatch):
    monkeypatch.setenv("LABELS", "60")
    monkeypatch.setenv("SOURCE", "my.csv")
    monkeypatch.setenv("SEED", "")  # as `make run SEED=` gives it: not set
    settings = Settings.read(source="embedded", labels="abc", seed=7, test_size="auto")
    assert settings == Settings(source="my.csv", labels=60, seed=7)


def test_without_the_hub_auto_takes_what_is_embedded(capsys):
    settings = Settings().resolve()
    assert (settings.source, settings.backbone) == ("embedded", "minilm")
    printed = capsys.readouterr().out
    assert "SOURCE=auto takes 'embedded'" in printed
    assert "BACKBONE=auto takes 'minilm'" in printed
    assert printed.count("HF_HUB_OFFLINE is set") == 2


def test_what_was_chosen_is_left_alone(capsys):
    settings = Settings(source="my.csv", backbone="distilbert")
    assert settings.resolve() == settings
    assert capsys.readouterr().out == ""


def test_set_up_prints_the_settings_but_no_path(tmp_path, capsys):
    settings = set_up(
        source=str(tmp_path / "mine.csv"),
        backbone=str(tmp_path / "bert"),
        artifacts=str(tmp_path / "results"),
        labels=60,
    )
    assert settings.source == str(tmp_path / "mine.csv")
    printed = capsys.readouterr().out
    assert "SOURCE=mine.csv, BACKBONE=bert, LABELS=60, SEED=42" in printed
    assert "torch 2" in printed
    for path in (tmp_path, ROOT):
        assert str(path) not in printed


# Results.


def test_a_result_comes_back_as_it_was_saved(tmp_path):
    run = Run(tmp_path / "imdb-distilbert")
    result = {"accuracy": 0.9123456789, "errors": ["Très bien…"], "split_sha256": "a" * 64}
    run.save("evaluation", {"accuracy": 0})
    run.save("evaluation", result)
    assert run.load("evaluation", split_sha256="a" * 64) == result


def test_a_missing_result_names_its_notebook(tmp_path):
    message = refusal(Run(tmp_path / "imdb-distilbert").load, "baseline")
    assert "imdb-distilbert/results/baseline.json is missing" in message
    assert "notebooks/02_baseline.ipynb" in message


def test_a_result_of_another_split_names_both(tmp_path):
    run = Run(tmp_path / "imdb-distilbert")
    run.save("training", {"split_sha256": "a" * 64})
    message = refusal(run.load, "training", split_sha256="b" * 64)
    for words in ("another split_sha256", "a" * 12, "b" * 12, "notebooks/03_fine_tuning.ipynb"):
        assert words in message


@pytest.mark.parametrize("way", [as_csv, as_parquet, as_acl])
def test_a_result_holds_no_path(tmp_path, way):
    train, test = stored_frames()
    (tmp_path / "My Reviews").mkdir()
    path = way(tmp_path / "My Reviews", train, test)
    settings = Settings(source=str(path), backbone=str(tmp_path / "bert"), labels=100,
                        artifacts=str(tmp_path / "artifacts"))  # fmt: skip
    reviews = load_reviews(settings)
    run = Run.of(settings, reviews.name)
    run.save("data", {**reviews.provenance, "origin": reviews.origin, "run": run.name})
    [file] = (tmp_path / "artifacts").rglob("*.json")
    assert file.parts[-3:] == (run.name, "results", "data.json")
    assert str(tmp_path) not in file.read_text()
    assert re.fullmatch(f"{reviews.name}-bert-[0-9a-f]{{6}}", run.name)


def test_backbones_in_folders_of_one_name_do_not_share_a_run():
    """Else one's weights would be evaluated, or exported, as the other's."""
    backbones = ("minilm", "a/minilm", "b/minilm", str(ROOT / "b" / "minilm"))
    names = [Run.of(Settings(backbone=backbone), "imdb").name for backbone in backbones]
    assert names[0] == "imdb-minilm"
    assert len(set(names[:3])) == 3
    assert names[2] == names[3]


def test_a_file_that_the_disk_does_not_give_is_not_called_damaged(tmp_path):
    (tmp_path / "reviews.csv").mkdir()  # opening it fails, as without permission
    message = refusal(read_frame, tmp_path / "reviews.csv")
    assert f"reviews.csv cannot be read: {os.strerror(errno.EISDIR)}." in message


FULL_DISK = [
    OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)),
    SafetensorError("I/O error: No space left on device (os error 28)"),  # not an OSError
]


@pytest.mark.parametrize("error", FULL_DISK, ids=["OSError", "SafetensorError"])
def test_on_a_full_disk_the_old_file_stays(tmp_path, error):
    def fill(path):
        path.write_text("half of the n")
        raise error

    (tmp_path / "metrics.json").write_text("old")
    message = refusal(write, tmp_path / "metrics.json", fill)
    assert "metrics.json" in message
    assert "No space left on device" in message
    assert "ARTIFACTS" in message
    assert [path.name for path in tmp_path.iterdir()] == ["metrics.json"]
    assert (tmp_path / "metrics.json").read_text() == "old"


@pytest.mark.parametrize("error", FULL_DISK, ids=["OSError", "SafetensorError"])
def test_on_a_full_disk_the_old_folder_stays(tmp_path, error):
    def fill(folder):
        (folder / "weights").write_text("half of the n")
        raise error

    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "weights").write_text("old")
    message = refusal(write_folder, tmp_path / "model", fill)
    assert "model/" in message
    assert "No space left on device" in message
    assert [path.name for path in tmp_path.iterdir()] == ["model"]
    assert (tmp_path / "model" / "weights").read_text() == "old"


def test_a_new_folder_replaces_the_old_one_whole(tmp_path):
    for name in ("first", "second"):
        write_folder(tmp_path / "model", lambda folder, name=name: (folder / name).touch())
    assert [path.name for path in tmp_path.rglob("*")] == ["model", "second"]


def test_a_file_in_the_place_of_the_artifacts_folder_is_refused(tmp_path):
    (tmp_path / "artifacts").write_text("")
    message = refusal(Run(tmp_path / "artifacts" / "imdb-distilbert").save, "data", {})
    assert "data.json" in message
    assert "ARTIFACTS" in message


def test_a_file_named_like_a_known_data_set_gets_a_name_of_its_own(tmp_path):
    for name in ("imdb", "IMDB", "Rotten Tomatoes snippets"):
        make_reviews(100).to_csv(tmp_path / f"{name}.csv", index=False)
        found = load_reviews(Settings(source=str(tmp_path / f"{name}.csv"), labels=20))
        slug = name.lower().replace(" ", "-")
        assert found.name == found.title == f"{slug}-{found.reviews_sha256[:8]}"


def test_groups_of_a_given_test_are_kept_out_of_training(tmp_path):
    folder = tmp_path / "films"
    folder.mkdir()
    train, test = make_reviews(400), make_reviews(40, seed=1)
    train["group"] = [f"film {row % 20}" for row in range(len(train))]
    test["group"] = "film 3"
    train.to_parquet(folder / "train.parquet")
    test.to_parquet(folder / "test.parquet")
    found = load_reviews(Settings(source=str(folder), labels=100))
    assert "film 3" not in set(found.train["group"]) | set(found.validation["group"])


def test_folds_are_disjoint_tenths_of_the_budget_that_share_no_film(tmp_path):
    frame = make_reviews(400).assign(group=[f"film {n % 50}" for n in range(400)])
    frame.to_csv(tmp_path / "mine.csv", index=False)
    found = load(tmp_path / "mine.csv", labels=200)
    folds = [found.fold(number, 10) for number in range(10)]
    budget = sorted([*found.train["hash"], *found.validation["hash"]])
    assert sorted(h for fold in folds for h in fold.validation["hash"]) == budget
    for fold in folds:
        assert sorted([*fold.train["hash"], *fold.validation["hash"]]) == budget
        assert not set(fold.train["group"]) & set(fold.validation["group"])
        assert set(fold.validation["label"]) == {0, 1}
    assert len({fold.split_sha256 for fold in folds}) == 10
    assert len({fold.training_sha256 for fold in folds}) == 10


def test_imdb_with_another_test_than_the_official_one_is_called_so(tmp_path, monkeypatch):
    train, test = make_reviews(300, seed=0), make_reviews(100, seed=1)
    everything = pd.concat([train, test])
    parts = {
        "official": (train, test),
        "another": (everything[everything.index % 4 > 0], everything[::4]),
    }
    for name, frames in parts.items():
        (tmp_path / name).mkdir()
        as_parquet(tmp_path / name, *frames)
    everything.to_csv(tmp_path / "one_file.csv", index=False)
    official = load(str(tmp_path / "official"), 100)
    monkeypatch.setattr(reviews_module, "IMDB", official.reviews_sha256)
    monkeypatch.setattr(
        reviews_module,
        "IMDB_TEST",
        reviews_module._hash(reviews_module._keys(reviews_module.ordered(test))),
    )
    monkeypatch.setattr(reviews_module, "KNOWN", {official.reviews_sha256: ("imdb", "IMDB")})
    assert load(str(tmp_path / "official"), 100).title == "IMDB"
    for other in ("another", "one_file.csv"):
        found = load(str(tmp_path / other), 100)
        assert (found.name, found.title) == ("imdb-resplit", "IMDB, split anew")


def test_class_names_of_a_column_that_is_gone_are_refused(tmp_path):
    features = Features({"text": Value("string"), "label": ClassLabel(names=["pos", "neg"])})
    rows = {"text": [f"review {n}" for n in range(40)], "label": [0, 1] * 20}
    Dataset.from_dict(rows, features=features).to_parquet(tmp_path / "in.parquet")
    table = pq.read_table(tmp_path / "in.parquet")
    tables = {
        "renamed": table.rename_columns(["text", "sentiment"]),
        "words": table.set_column(1, "label", pa.array(["1", "0"] * 20)),
    }
    for name, changed in tables.items():
        changed = changed.replace_schema_metadata(table.schema.metadata)
        pq.write_table(changed, tmp_path / f"{name}.parquet")
        with pytest.raises(InputError, match=r"metadata names the classes \['pos', 'neg'\]"):
            load(tmp_path / f"{name}.parquet")


@pytest.mark.parametrize(("columns", "chosen"), [
    ({"label": "text", "text": "label"}, {"text_column": "label", "label_column": "text"}),
    ({"review": "text", "text": "label"}, {"label_column": "text"}),
    ({"label": "text", "sentiment": "label"},
     {"text_column": "label", "label_column": "sentiment"}),
    ({0: "text", 1: "label"}, {"text_column": "0", "label_column": "1"}),
])  # fmt: skip
def test_columns_may_have_each_others_names(tmp_path, columns, chosen):
    frame = make_reviews(200, 0)
    data = pd.DataFrame({name: frame[of] for name, of in columns.items()})
    data.to_parquet(tmp_path / "in.parquet")
    reviews = load(tmp_path / "in.parquet", **chosen)
    known = dict(zip(map(clean, frame["text"]), frame["label"], strict=True))
    found = pd.concat([reviews.train, reviews.validation, reviews.test])
    assert [known[text] for text in found["text"]] == found["label"].tolist()


def test_one_column_cannot_be_both(tmp_path):
    make_reviews(60, 0)[["text", "label"]].to_csv(tmp_path / "in.csv", index=False)
    with pytest.raises(InputError, match="text cannot be both the texts and the labels"):
        load(tmp_path / "in.csv", text_column="text", label_column="text")


def test_what_lies_beside_the_reviews_is_named(tmp_path):
    train, test = (frame[["text", "label"]] for frame in stored_frames())
    as_two_csvs(tmp_path, train, test)
    (tmp_path / "pos").mkdir()
    (tmp_path / "train.xlsx").touch()
    assert read_source(Settings(source=str(tmp_path))).notes == ["Left out: pos, train.xlsx."]
    folder = tmp_path / "texts"
    as_acl(folder, *stored_frames())
    (folder / "train" / "neutral").mkdir()
    (folder / "README").touch()
    notes = read_source(Settings(source=str(folder))).notes
    assert notes == ["Left out: train/neutral, README."]
    (tmp_path / "__MACOSX").mkdir()
    (tmp_path / "__MACOSX" / "train.csv").touch()
    assert len(read_source(Settings(source=str(tmp_path))).train) == 200


@pytest.mark.parametrize(("name", "content", "why"), [
    ("in.csv", "text,label\n", "in.csv has no rows"),
    ("in.csv", "sep=;\ntext;label\ngood;1\n", "which Excel alone reads"),
    ("in.csv", "text,  label\ngood,1\n", "the columns text, '  label'"),
    ("in.csv", "text,label\ngood,0_1\n", "the label is unknown"),
    ("in.csv", "t\0e\0x\0t\0\n", "is not UTF-8"),
])  # fmt: skip
def test_other_mistakes_of_a_file_are_named(tmp_path, name, content, why):
    (tmp_path / name).write_text(content)
    with pytest.raises(InputError, match=why):
        load(tmp_path / name)


def test_shards_of_different_columns_and_two_columns_of_one_name_are_refused(tmp_path):
    train, test = (frame[["text", "label"]] for frame in stored_frames())
    as_hub_download(tmp_path, train, test)
    shard = tmp_path / "plain_text" / "train-00001-of-00002.parquet"
    train.rename(columns={"label": "sentiment"}).to_parquet(shard)
    with pytest.raises(InputError, match="The files of train have different columns"):
        load(tmp_path)
    table = pa.Table.from_arrays([pa.array(["a"]), pa.array([1])] * 2, ["text", "label"] * 2)
    pq.write_table(table, tmp_path / "in.parquet")
    with pytest.raises(InputError, match="two columns named 'text': rename one"):
        load(tmp_path / "in.parquet")


def test_a_text_file_that_is_a_device_is_not_read(tmp_path):
    folder = tmp_path / "texts"
    as_acl(folder, *stored_frames())
    (folder / "train" / "pos" / "999_9.txt").symlink_to("/dev/zero")
    with pytest.raises(InputError, match=r"train/pos/999_9.txt is no regular file"):
        load(folder)


CARD = """---
dataset_info:
  features:
  - name: text
    dtype: string
  - name: label
    dtype:
      class_label:
        names:
          '0': pos
          '1': neg
---
# Reviews
"""


@pytest.mark.parametrize("beside", ["dataset_info.json", "README.md"])
def test_class_names_in_a_file_beside_the_reviews_decide(tmp_path, beside):
    train, test = (frame[["text", "label"]] for frame in stored_frames())
    known = {clean(row.text): row.label for row in pd.concat([train, test]).itertuples()}
    as_two_csvs(tmp_path, *(f.assign(label=1 - f["label"]) for f in (train, test)))
    info = {"features": {"label": {"_type": "ClassLabel", "names": ["pos", "neg"]}}}
    (tmp_path / beside).write_text(CARD if beside == "README.md" else json.dumps(info))
    (tmp_path / "test.csv.gz").unlink()
    test.assign(label=1 - test["label"]).to_csv(tmp_path / "test.csv", index=False)
    reviews = load(tmp_path)
    found = pd.concat([reviews.train, reviews.validation, reviews.test])
    assert [known[text] for text in found["text"]] == found["label"].tolist()


def test_of_label_and_sentiment_it_is_said_which_is_read(tmp_path):
    frame = make_reviews(200, 0)
    frame.assign(sentiment=1 - frame["label"]).to_csv(tmp_path / "in.csv", index=False)
    assert "'label' and 'sentiment' the first is read" in load(tmp_path / "in.csv").origin


def beside(folder, names) -> Path:
    """A CSV of reviews whose classes are named by a file beside it."""
    folder.mkdir()
    make_reviews(200, 0).to_csv(folder / "in.csv", index=False)
    info = {"features": {"label": {"_type": "ClassLabel", "names": names}}}
    (folder / "dataset_info.json").write_text(json.dumps(info))
    return folder / "in.csv"


def test_a_label_between_two_classes_is_no_class(tmp_path):
    path = beside(tmp_path / "soft", ["neg", "pos"])
    frame = make_reviews(200, 0)
    frame.assign(label=frame["label"] * 0.95 + 0.02).to_csv(path, index=False)
    assert re.search(r"label '0\.\d+'\): the label is unknown", refusal(load, path))


def test_names_of_classes_above_the_hubs_folder_are_its(tmp_path):
    """Whose tables stand in a folder of a known name; of another they are asked about."""
    for folder in ("mine", "plain_text"):
        path = beside(tmp_path / folder, ["pos", "neg"])
        (tmp_path / "dataset_info.json").unlink(missing_ok=True)
        (path.parent / "dataset_info.json").rename(tmp_path / "dataset_info.json")
        if folder == "mine":
            assert "may be of these reviews" in refusal(load, path)
            continue
        frame = load(path).train
        negative = frame[frame["text"].str.contains("dull|awful|weak|boring")]
        assert set(negative["label"]) == {1}


def test_names_of_classes_that_grow_without_end_are_refused(tmp_path):
    """Aliases of YAML: each line ten times the one before, until they are written out."""
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 9)]
    card = CARD.replace("dataset_info:", "\n".join([*lines, "dataset_info:"]))
    assert card != CARD
    make_reviews(200, 0).to_csv(tmp_path / "in.csv", index=False)
    (tmp_path / "README.md").write_text(card.replace("'0': pos", "'0': *a8"))
    assert "in a way that is not read" in refusal(load, tmp_path / "in.csv")
    (tmp_path / "README.md").write_text(CARD.replace("'0': pos", "'0': " + "[" * 3000))
    assert "in a way that is not read" in refusal(load, tmp_path / "in.csv")


@pytest.mark.parametrize("said", [
    b"not json", b"[]", b'{"info": []}', b'{"info": {"features": {"label": 3}}}',
    b'{"info": {"features": {"label": {"_type": "Nope"}}}}', b"[" * 100_000,
])  # fmt: skip
def test_metadata_that_cannot_be_read_is_one_sentence(tmp_path, said):
    table = pa.Table.from_pandas(make_reviews(200, 0)).replace_schema_metadata(
        {b"huggingface": said}
    )
    pq.write_table(table, tmp_path / "in.parquet")
    assert "its metadata cannot be read" in refusal(load, tmp_path / "in.parquet")


def test_a_pipe_is_no_table(tmp_path):
    for split in ("train", "test"):
        os.mkfifo(tmp_path / f"{split}.parquet")
    assert "is no regular file" in refusal(load, tmp_path)


def test_a_few_bytes_that_stand_for_many_texts_are_refused(tmp_path, monkeypatch):
    texts = pa.array(["great " * 20_000, "dull " * 20_000]).dictionary_encode()
    rows = pa.DictionaryArray.from_arrays([0, 1] * 200, texts.dictionary)
    table = pa.table({"text": rows.cast(pa.string()), "label": [1, 0] * 200})
    pq.write_table(table, tmp_path / "in.parquet")
    monkeypatch.setattr("utils.data.sources.MOST_TEXT", 2**24)
    assert "bytes of text" in refusal(load, tmp_path / "in.parquet")


def test_rows_with_columns_of_their_own_are_refused(tmp_path, monkeypatch):
    rows = [{"text": f"great {n}", "label": 1, f"key{n}": n} for n in range(400)]
    (tmp_path / "in.jsonl").write_text("\n".join(map(json.dumps, rows)))
    monkeypatch.setattr("utils.data.sources.MOST_CELLS", 10_000)
    assert "402 columns in 400 rows" in refusal(load, tmp_path / "in.jsonl")


def test_of_several_configurations_that_of_the_folder_names_the_classes(tmp_path):
    """And it is said where the names come from."""
    cards = CARD.split("dataset_info:\n")[1].split("---")[0]
    both = "dataset_info:\n"
    for name, names in (("other", ("pos", "neg")), ("mine", ("neg", "pos"))):
        one = cards.replace("'0': pos", f"'0': {names[0]}").replace("'1': neg", f"'1': {names[1]}")
        lines = one.rstrip("\n").split("\n")
        both += f"- config_name: {name}\n" + "\n".join(lines) + "\n"
    folder = tmp_path / "mine"
    folder.mkdir()
    make_reviews(200, 0).to_csv(folder / "in.csv", index=False)
    (folder / "README.md").write_text(f"---\n{both}---\n")
    found = load(folder / "in.csv")
    negative = found.train[found.train["text"].str.contains("dull|awful|weak|boring")]
    assert set(negative["label"]) == {0}
    assert "Its classes are named by README.md: 0 neg, 1 pos." in found.origin


def test_texts_as_categories_give_the_same_draw(tmp_path):
    frame = make_reviews(300, 0)
    frame.to_parquet(tmp_path / "a.parquet")
    frame.sample(frac=1, random_state=1).astype({"text": "category"}).to_parquet(
        tmp_path / "b.parquet"
    )
    one, other = (load(tmp_path / f"{name}.parquet") for name in "ab")
    assert one.split_sha256 == other.split_sha256


@pytest.mark.parametrize("names", [("train", "test"), ("Training", "TEST")])
def test_a_column_of_splits_is_not_passed_over(tmp_path, names):
    frame = make_reviews(200, 0)
    frame.assign(split=[*names] * 100).to_csv(tmp_path / "in.csv", index=False)
    assert "has a column 'split'" in refusal(load, tmp_path / "in.csv")


def test_of_text_and_review_it_is_said_which_is_read(tmp_path):
    make_reviews(200, 0).assign(review="x").to_csv(tmp_path / "in.csv", index=False)
    assert "'text' and 'review' the first is read" in load(tmp_path / "in.csv").origin


def test_a_pandas_index_is_a_column_and_levels_are_refused(tmp_path):
    frame = make_reviews(200, 0)
    frame.set_index("text").to_parquet(tmp_path / "in.parquet")
    assert len(load(tmp_path / "in.parquet").train) > 50
    frame.columns = pd.MultiIndex.from_tuples([("a", "text"), ("a", "label")])
    frame.to_parquet(tmp_path / "in.parquet")
    assert "columns of several levels" in refusal(load, tmp_path / "in.parquet")


def test_what_save_to_disk_leaves_is_named(tmp_path):
    Dataset.from_pandas(make_reviews(200, 0)).save_to_disk(tmp_path / "in")
    assert "is a folder of save_to_disk" in refusal(load, tmp_path / "in")


@pytest.mark.parametrize("metadata", [
    "a0: &a0 {x: 1}\na1: &a1 {<<: [*a0, *a0]}\n" + CARD.split("---\n")[1],
    "a0: &a0 {x: 1}\na1: {!!merge x: [*a0, *a0]}\n" + CARD.split("---\n")[1],
    CARD.split("---\n")[1] + "x: " + "1:" * 40_000 + "1\n",
], ids=["merges", "merges by tag", "long"])  # fmt: skip
def test_metadata_that_costs_too_much_is_refused(tmp_path, metadata):
    make_reviews(200, 0).to_csv(tmp_path / "in.csv", index=False)
    (tmp_path / "README.md").write_text(f"---\n{metadata}---\n")
    assert "write it out, or move the page away" in refusal(load, tmp_path / "in.csv")


def test_a_long_page_without_metadata_says_nothing(tmp_path):
    make_reviews(200, 0).to_csv(tmp_path / "in.csv", index=False)
    (tmp_path / "README.md").write_text("# Reviews\n" * 20_000)
    load(tmp_path / "in.csv")


def test_rows_that_take_no_bytes_are_refused(tmp_path, monkeypatch):
    monkeypatch.setattr("utils.tables.MOST_VALUES", 1000)
    rows = pa.table({"text": pa.nulls(10_000_000, pa.string()), "label": pa.nulls(10_000_000)})
    pq.write_table(rows, tmp_path / "in.parquet")
    assert "rows, a hundred times its bytes" in refusal(load, tmp_path / "in.parquet")
    numbers = {f"c{n}": pa.array([0] * 1000, pa.int64()) for n in range(8)}
    table = pa.table(numbers | {"text": ["great"] * 1000, "label": [0, 1] * 500})
    pq.write_table(table, tmp_path / "in.parquet")
    monkeypatch.setattr("utils.data.sources.MOST_CELLS", 5000)
    assert "10 columns in 1,000 rows" in refusal(load, tmp_path / "in.parquet")


def test_bytes_of_one_width_that_stand_for_many_are_refused(tmp_path, monkeypatch):
    monkeypatch.setattr("utils.tables.LONGEST_LINE", 10**6)
    wide = pa.array([b"x" * 10_000] * 2000, pa.binary(10_000))
    table = pa.table({"text": ["great"] * 2000, "label": [0, 1] * 1000, "wide": wide})
    pq.write_table(table, tmp_path / "in.parquet")
    assert "a hundred times its size" in refusal(load, tmp_path / "in.parquet")


def page_of(names: str, config: str = "") -> str:
    """A page's metadata that names the classes 0 and 1."""
    first = f"  config_name: {config}\n" if config else ""
    return (f"---\ndataset_info:\n{first}  features:\n  - name: label\n    dtype:\n"
            f"      class_label:\n        names: {names}\n---\n")  # fmt: skip


@pytest.mark.parametrize(("folder", "place", "page"), [
    ("set", "set", page_of("[pos, neg]")), ("set", "set", "\ufeff" + page_of("[pos, neg]")),
    ("set/mine", "set", page_of("{0: pos, 1: neg}", "mine")),
], ids=["list", "mark", "config"])  # fmt: skip
def test_class_names_count_in_every_form(tmp_path, folder, place, page):
    (tmp_path / folder).mkdir(parents=True)
    make_reviews(200, 0).to_csv(tmp_path / folder / "in.csv", index=False)
    (tmp_path / place / "README.md").write_text(page, encoding="utf-8")
    frame = load(tmp_path / folder / "in.csv").train
    negative = frame[frame["text"].str.contains("dull|awful|weak|boring")]
    assert set(negative["label"]) == {1}


@pytest.mark.parametrize("page", [
    page_of("[pos, neg]").replace("---\n", "---\ntitle: a: b\n", 1),
    page_of("{pos: 0, neg: 1}"), page_of("{.inf: pos}"),
])  # fmt: skip
def test_class_names_that_are_not_read_are_refused(tmp_path, page):
    make_reviews(200, 0).to_csv(tmp_path / "in.csv", index=False)
    (tmp_path / "README.md").write_text(page)
    assert "names classes in a way that is not read" in refusal(load, tmp_path / "in.csv")


def test_columns_that_hide_what_they_hold_are_refused(tmp_path):
    frame = {"text": ["great"] * 20, "label": [0, 1] * 10}
    view = pa.list_view(pa.string())
    for more in (pa.array(["[1]"] * 20, pa.json_()), pa.array([["a"]] * 20, view)):
        pq.write_table(pa.table(frame | {"more": more}), tmp_path / "in.parquet")
        assert "save it as text, or as a list" in refusal(load, tmp_path / "in.parquet")


@pytest.mark.parametrize("name", ["in.csv", "in.jsonl", "in.parquet"])
def test_class_names_of_kaggles_column_count_in_every_format(tmp_path, name):
    frame = make_reviews(200, 0).rename(columns={"text": "review", "label": "sentiment"})
    if name == "in.csv":
        frame.to_csv(tmp_path / name, index=False)
    elif name == "in.jsonl":
        frame.to_json(tmp_path / name, orient="records", lines=True)
    else:
        frame.to_parquet(tmp_path / name)
    info = {"features": {"sentiment": {"_type": "ClassLabel", "names": ["pos", "neg"]}}}
    (tmp_path / "dataset_info.json").write_text(json.dumps(info))
    found = load(tmp_path / name).train
    negative = found[found["text"].str.contains("dull|awful|weak|boring")]
    assert set(negative["label"]) == {1}


@pytest.mark.parametrize("other", [
    lambda group: group.astype(float), lambda group: group.astype(str) + " ",
])  # fmt: skip
def test_a_group_is_the_same_however_it_is_written(tmp_path, other):
    train = make_reviews(200, 0).assign(group=np.arange(200) % 50)
    test = make_reviews(100, 1).assign(group=np.arange(100) % 25)
    train.to_parquet(tmp_path / "train.parquet")
    test.assign(group=other(test["group"])).to_parquet(tmp_path / "test.parquet")
    reviews = load(tmp_path, labels=40)
    drawn = pd.concat([reviews.train, reviews.validation])
    assert not set(drawn["group"]) & set(reviews.test["group"])
    assert set(drawn["group"]) <= {str(number) for number in range(25, 50)}


@pytest.mark.parametrize(("name", "values"), [
    ("Split", ["train", "validation"]), ("set", ["train", "dev"]), ("type", ["train", "test"]),
    ("is_test", ["0", "1"]), ("is_valid", [True, False]), ("partition", ["TRAIN", "eval"]),
])  # fmt: skip
def test_a_column_of_splits_is_found_by_other_names(tmp_path, name, values):
    make_reviews(200).assign(**{name: values * 100}).to_csv(tmp_path / "in.csv", index=False)
    assert f"has a column '{name}'" in refusal(load, tmp_path / "in.csv")


def test_what_an_annotator_rejected_is_no_review(tmp_path):
    frame = make_reviews(200).assign(answer=["accept", "reject"] * 100)
    frame.to_json(tmp_path / "in.jsonl", orient="records", lines=True)
    assert "'answer' is 'reject'" in refusal(load, tmp_path / "in.jsonl")


def test_a_group_of_one_split_alone_is_refused(tmp_path):
    make_reviews(200, 0).assign(group=np.arange(200) % 50).to_csv(tmp_path / "train.csv")
    make_reviews(100, 1).to_csv(tmp_path / "test.csv")
    assert "only one has a column 'group'" in refusal(load, tmp_path)


def test_groups_in_csv_are_the_same_with_zeros_and_decimals(tmp_path):
    train = make_reviews(200, 0).assign(Group=[f"{n % 50:05d}" for n in range(200)])
    test = make_reviews(100, 1).assign(group=[f"{n % 25}.0" for n in range(100)])
    train.to_csv(tmp_path / "train.csv", index=False)
    test.to_csv(tmp_path / "test.csv", index=False)
    reviews = load(tmp_path, labels=40)
    drawn = pd.concat([reviews.train, reviews.validation])
    assert set(drawn["group"]) <= {str(number) for number in range(25, 50)}


@pytest.mark.parametrize(("place", "text"), [
    ("dataset_infos.json", json.dumps({"default": {"features": {"label": {
        "names": ["pos", "neg"], "_type": "ClassLabel"}}}})),
    ("readme.md", page_of("[pos, neg]")),
])  # fmt: skip
def test_class_names_count_in_older_files_too(tmp_path, place, text):
    make_reviews(200, 0).to_csv(tmp_path / "in.csv", index=False)
    (tmp_path / place).write_text(text)
    frame = load(tmp_path / "in.csv").train
    negative = frame[frame["text"].str.contains("dull|awful|weak|boring")]
    assert set(negative["label"]) == {1}


@pytest.mark.parametrize("folder", ["raw", "data/en"])
def test_class_names_above_that_may_be_of_these_reviews_are_asked_about(tmp_path, folder):
    (tmp_path / folder).mkdir(parents=True)
    make_reviews(200, 0).to_csv(tmp_path / folder / "in.csv", index=False)
    (tmp_path / "README.md").write_text(page_of("[pos, neg]"))
    assert "README.md names the classes pos, neg" in refusal(load, tmp_path / folder / "in.csv")
    (tmp_path / "README.md").write_text(page_of("[neg, pos]"))  # as without it
    load(tmp_path / folder / "in.csv")
