"""Files of reviews in, labelled files out."""

import csv
import gzip
import io
import itertools
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from conftest import run_script
from datasets import ClassLabel, Dataset, Features, Value

from utils import InputError
from utils.data.sources import read_frame
from utils.export.folder import write_model
from utils.hardware import precision
from utils.inference.classifier import Classifier
from utils.inference.files import Layout, label_file
from utils.inference.folders import Work, label_folder, local, on_ray
from utils.manifest import write_manifest
from utils.modeling.backbones import build_model, load_backbone
from utils.modeling.model import fold_head
from utils.paths import ROOT
from utils.settings import require_packages
from utils.tables import read_table

TEXTS = ["great film", "the dull story " * 300, "a poor, weak plot!", "two\nlines, and a comma"]
FORMATS = ["csv", "jsonl", "parquet"]


@pytest.fixture(scope="module")
def classifier(tiny_bert):
    backbone = load_backbone(str(tiny_bert))
    return Classifier(build_model(backbone, seed=0), backbone.tokenizer)


def save(frame: pd.DataFrame, path) -> None:
    if path.suffix == ".csv":
        frame.to_csv(path, index=False)
    elif path.suffix == ".jsonl":
        frame.to_json(path, orient="records", lines=True)
    else:
        frame.to_parquet(path)


def read(path) -> pd.DataFrame:
    if path.suffix == ".csv":
        return pd.read_csv(path, keep_default_na=False, dtype={"id": str})
    if path.suffix == ".jsonl":
        return pd.DataFrame([json.loads(line) for line in path.read_text().splitlines()])
    return pd.read_parquet(path)


@pytest.mark.parametrize("target", FORMATS)
@pytest.mark.parametrize("source", FORMATS)
def test_every_format_keeps_rows_and_columns_and_adds_three(classifier, tmp_path, source, target):
    frame = pd.DataFrame({"id": ["007", "b", "c", "d"], "text": TEXTS, "stars": [1, 2, 3, 4]})
    save(frame, tmp_path / f"in.{source}")
    assert label_file(classifier, tmp_path / f"in.{source}", tmp_path / f"out.{target}") == (4, 0)
    found = read(tmp_path / f"out.{target}")
    assert list(found) == [*frame, "predicted_label", "score", "truncated"]
    assert found["id"].tolist() == frame["id"].tolist()
    assert found["text"].tolist() == TEXTS
    assert found["stars"].astype(int).tolist() == [1, 2, 3, 4]
    predictions = classifier.predict(TEXTS)
    assert found["predicted_label"].tolist() == [p.label for p in predictions]
    assert found["score"].tolist() == pytest.approx([p.score for p in predictions])
    assert found["truncated"].tolist() == [False, True, False, False]


@pytest.mark.parametrize("kind", FORMATS)
def test_more_rows_than_are_held_at_a_time(classifier, tmp_path, monkeypatch, kind):
    monkeypatch.setattr("utils.tables.BLOCK", 3)
    texts = [f"{'great' if i % 2 else 'dull'} {'film ' * i}" for i in range(10)]
    save(pd.DataFrame({"review": texts}), tmp_path / f"in.{kind}")
    assert label_file(classifier, tmp_path / f"in.{kind}", tmp_path / f"out.{kind}") == (10, 0)
    found = read(tmp_path / f"out.{kind}")
    assert found["review"].tolist() == texts
    assert found["predicted_label"].tolist() == [p.label for p in classifier.predict(texts)]


BAD_CSV = b'id,text\n1,great film\n2,\n3,dull,too many\n4\n5,caf\xe9\n6,"weak\nplot"\n'
BAD_JSONL = (
    b'{"text": "great film"}\n{"text": null}\nnot json\n\n["a list"]\n{"other": "x"}\n'
    b'{"text": "caf\xe9"}\n{"text": "weak plot", "new": 1}\n'
)


def test_bad_rows_of_a_csv_keep_their_place_and_are_named(classifier, tmp_path, capsys):
    (tmp_path / "in.csv").write_bytes(BAD_CSV)
    assert label_file(classifier, tmp_path / "in.csv", tmp_path / "out.csv") == (6, 4)
    said = capsys.readouterr().err
    for row, why in ((2, "empty"), (3, "2 fields"), (4, "2 fields"), (5, "encoding")):
        assert f"row {row} has no label" in said
        assert why in next(line for line in said.splitlines() if f"row {row} " in line)
    with (tmp_path / "out.csv").open(encoding="latin-1", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [bool(row["predicted_label"]) for row in rows] == [
        True,
        False,
        False,
        False,
        False,
        True,
    ]
    assert [row["id"] for row in rows] == list("123456")
    assert b"caf\xe9" in (tmp_path / "out.csv").read_bytes()  # as it was
    assert rows[2]["text"] == "dull,too many"


@pytest.mark.parametrize("target", FORMATS)
def test_bad_rows_of_a_jsonl_file(classifier, tmp_path, target):
    (tmp_path / "in.jsonl").write_bytes(BAD_JSONL)
    assert label_file(classifier, tmp_path / "in.jsonl", tmp_path / f"out.{target}") == (7, 5)
    if target == "csv":
        labels = pd.read_csv(tmp_path / "out.csv", encoding="latin-1")["predicted_label"]
    elif target == "jsonl":
        lines = (tmp_path / "out.jsonl").read_bytes().splitlines()
        labels = [json.loads(line.decode("latin-1")).get("predicted_label") for line in lines]
    else:
        labels = read(tmp_path / f"out.{target}")["predicted_label"]
    assert [label in ("POSITIVE", "NEGATIVE") for label in labels] == [True, *[False] * 5, True]


@pytest.mark.parametrize("target", FORMATS)
def test_half_a_character_in_another_column_does_not_stop_the_work(classifier, tmp_path, target):
    (tmp_path / "in.jsonl").write_text(
        '{"text": "great film", "note": "cut \\ud83d", "more": ["\\ud83d"]}\n'
    )
    assert label_file(classifier, tmp_path / "in.jsonl", tmp_path / f"out.{target}") == (1, 0)
    kept = (tmp_path / f"out.{target}").read_bytes()
    # Elsewhere than in JSON it is U+FFFD, the replacement character.
    assert (rb"cut \ud83d" if target == "jsonl" else b"cut \xef\xbf\xbd") in kept


def test_a_number_that_parquet_cannot_hold_is_refused(classifier, tmp_path):
    (tmp_path / "in.jsonl").write_text('{"text": "great film", "id": 99999999999999999999}\n')
    with pytest.raises(InputError, match=r"Write \.jsonl"):
        label_file(classifier, tmp_path / "in.jsonl", tmp_path / "out.parquet")
    assert label_file(classifier, tmp_path / "in.jsonl", tmp_path / "out.jsonl") == (1, 0)


def test_rows_without_a_text_come_first_and_parquet_has_labels_all_the_same(
    classifier, tmp_path, monkeypatch
):
    monkeypatch.setattr("utils.tables.BLOCK", 3)
    lines = [json.dumps({"text": text}) for text in ("", "", "", "great film")]
    (tmp_path / "in.jsonl").write_text("\n".join(lines))
    assert label_file(classifier, tmp_path / "in.jsonl", tmp_path / "out.parquet") == (4, 3)
    labels = pd.read_parquet(tmp_path / "out.parquet")["predicted_label"]
    assert labels.notna().tolist() == [False, False, False, True]


@pytest.mark.parametrize("target", ["csv", "parquet"])
def test_a_table_without_rows_names_its_columns_all_the_same(classifier, tmp_path, target):
    (tmp_path / "in.csv").write_text("text\n")
    assert label_file(classifier, tmp_path / "in.csv", tmp_path / f"out.{target}") == (0, 0)
    found = list(read(tmp_path / f"out.{target}"))
    assert found == ["text", "predicted_label", "score", "truncated"]


def test_parquet_keeps_the_types_of_its_columns(classifier, tmp_path):
    frame = pd.DataFrame(
        {"text": TEXTS, "when": pd.Timestamp("2026-01-01"), "n": pd.array([1, None, 3, 4], "Int64")}
    )
    frame.to_parquet(tmp_path / "in.parquet")
    label_file(classifier, tmp_path / "in.parquet", tmp_path / "out.parquet")
    found = pd.read_parquet(tmp_path / "out.parquet", columns=list(frame))
    pd.testing.assert_frame_equal(found, pd.read_parquet(tmp_path / "in.parquet"))


def test_another_column_can_hold_the_texts(classifier, tmp_path):
    save(pd.DataFrame({"text": ["x"], "body": ["great film"]}), tmp_path / "in.csv")
    label_file(classifier, tmp_path / "in.csv", tmp_path / "out.csv", Layout("body"))
    label = classifier.predict(["great film"])[0].label
    assert read(tmp_path / "out.csv")["predicted_label"].tolist() == [label]


def test_cells_that_a_spreadsheet_would_run_are_escaped_on_demand(classifier, tmp_path):
    (tmp_path / "in.csv").write_text("text,n\n=1+1 great,-2.5\n@great,+x\ngreat,y\n")
    for escape, texts, last in ((False, ["=1+1 great", "@great", "great"], "+x"),
                                (True, ["'=1+1 great", "'@great", "great"], "'+x")):  # fmt: skip
        label_file(
            classifier, tmp_path / "in.csv", tmp_path / "out.csv", Layout(escape_formulas=escape)
        )
        found = read(tmp_path / "out.csv")
        assert found["text"].tolist() == texts
        assert found["n"].tolist() == ["-2.5", last, "y"]
        assert found["predicted_label"].notna().all()


def test_a_first_row_without_a_text_keeps_no_other_from_its_label(classifier, tmp_path):
    rows = '{"id": 1}\n{"id": 2, "text": "great film"}\n'
    (tmp_path / "in.jsonl").write_text(rows)
    assert label_file(classifier, tmp_path / "in.jsonl", tmp_path / "out.jsonl") == (2, 1)
    found = read(tmp_path / "out.jsonl")["predicted_label"].tolist()
    assert found[1] == classifier.predict(["great film"])[0].label
    assert pd.isna(found[0])


CASES = {
    "none.csv": (None, "does not exist"),
    "in.xlsx": (b"PK", r"give a file of \.csv, \.tsv, \.jsonl, \.ndjson, \.json, \.parquet"),
    "other.csv": (b"a,b\n1,2\n", r"no column text or review, but .a., .b.: .*--text-column"),
    "twice.csv": (b"text,text\n1,2\n", "name the columns, each once"),
    "empty.csv": (b"", "name the columns"),
    "latin.csv": (b"caf\xe9,text\n1,fine\n", "first line is not UTF-8"),
    "taken.csv": (b"text,score\nfine,1\n", "column 'score' already: rename it"),
    "head.csv": (b'id,"text\n1,great\n', "row in line 1: unexpected end of data"),
    "quote.csv": (b'id,text\n1,"a "great" film"\n', "row in line 2: .* is written twice"),
    "cut.csv": (b'id,text\n1,"great film\n2,dull\n', "row in line 2: unexpected end of data"),
    "cut.parquet": (b"PAR1 cut short", "cannot be read as parquet"),
    "semicolon.csv": (b"id;text\n1;fine\n", r"is it separated by ';'\? .*--separator ';'"),
    "pipes.csv": (b"text|id\na, b|1\n", r"is it separated by '\|'"),
    "commas.tsv": (b"id,text\n1,fine\n", r"no tab: name it \.csv"),
    "array.json": (b'[{"text": "fine"}, {"te', "begins as a JSON array, and cannot be parsed"),
    "columns.json": (b'{"text": {"0": "fine"}}', "none of its 1 rows has a text"),
    "texts.json": (b'["fine", "dull"]', "none of its 2 rows has a text"),
    "nothing.csv": (b"text\n\xe2\x80\x8b\n", "none of its 1 rows has a text"),
    "cut.csv.gz": (gzip.compress(b"text\nfine\n" * 99)[:-20], "is no whole gzip file"),
    "text.csv.gz": (b"text\nfine\n", "is no whole gzip file"),
    "in.parquet.gz": (b"", "give a file of"),
}


@pytest.mark.parametrize("name", CASES)
def test_a_file_that_cannot_be_labelled_is_refused_and_nothing_is_written(
    classifier, tmp_path, name
):
    content, why = CASES[name]
    if content is not None:
        (tmp_path / name).write_bytes(content)
    (tmp_path / "out.csv").write_text("from before")
    with pytest.raises(InputError, match=why):
        label_file(classifier, tmp_path / name, tmp_path / "out.csv")
    assert (tmp_path / "out.csv").read_text() == "from before"
    assert {path.name for path in tmp_path.iterdir()} <= {name, "out.csv"}


def test_a_packed_file_is_held_a_few_lines_at_once(tmp_path, monkeypatch):
    """What it unpacks to counts, not what it weighs."""
    monkeypatch.setattr("utils.tables.BLOCK_BYTES", 10**6)
    row = json.dumps({"text": "x" * 400_000}) + "\n"
    (tmp_path / "in.jsonl.gz").write_bytes(gzip.compress((row * 30).encode()))
    blocks = list(read_table(tmp_path / "in.jsonl.gz"))
    assert max(len(block.rows) for block in blocks) <= 4
    assert sum(len(block.rows) for block in blocks) == 30
    monkeypatch.setattr("utils.tables.LONGEST_LINE", 300_000)
    with pytest.raises(InputError, match="has a line of over 300,000 bytes"):
        list(read_table(tmp_path / "in.jsonl.gz"))
    monkeypatch.setattr("utils.tables.LARGEST_ARRAY", 1000)
    monkeypatch.setattr("utils.tables.LONGEST_LINE", 10**6)
    (tmp_path / "in.json").write_text(json.dumps([{"text": "x" * 2000}]))
    with pytest.raises(InputError, match="too large for a JSON array"):
        list(read_table(tmp_path / "in.json"))


def test_a_model_that_was_exported_anew_does_not_go_on_with_anothers_labels(exported, tmp_path):
    (tmp_path / "a.csv").write_text("text\ngreat\n")
    work = Work(exported, tmp_path, tmp_path / "out")
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "labelled-by.json").write_text('{"model_sha256": "another"}')
    with pytest.raises(InputError, match="was exported anew meanwhile"):
        list(local(work, ["a.csv"]))


def test_in_a_csv_of_one_column_a_blank_line_is_an_empty_cell(classifier, tmp_path):
    """So spreadsheets write it; no row may be lost."""
    (tmp_path / "in.csv").write_text("text\nA moving film.\n\nA dull story.\n")
    assert label_file(classifier, tmp_path / "in.csv", tmp_path / "out.csv") == (3, 1)
    assert read(tmp_path / "out.csv")["text"].tolist() == ["A moving film.", "", "A dull story."]


def test_columns_of_one_name_in_a_parquet_file_are_refused(classifier, tmp_path):
    columns = [pa.array(["great"]), pa.array([1]), pa.array([2])]
    pq.write_table(pa.Table.from_arrays(columns, names=["text", "n", "n"]), tmp_path / "in.parquet")
    with pytest.raises(InputError, match="has two columns named 'n'"):
        label_file(classifier, tmp_path / "in.parquet", tmp_path / "out.parquet")


def test_the_output_of_one_run_is_an_input_of_the_next(exported, tmp_path):
    first, second, third = (tmp_path / name for name in ("first", "second", "third"))
    first.mkdir()
    (first / "a.csv").write_text("text\ngreat\n")
    list(label_folder(Work(exported, first, second), local))
    found = list(label_folder(Work(exported, second, third, Layout(suffix="_2")), local))
    assert [(one.file, one.rows, bool(one.left_out)) for one in found] == [
        ("labelled-by.json", 0, True),
        ("a.csv", 1, False),
    ]
    (third / "labelled-by.json").write_text("[]")
    with pytest.raises(InputError, match=r"labelled-by\.json is damaged"):
        list(label_folder(Work(exported, second, third, Layout(suffix="_2")), local))


def test_a_column_of_bytes_is_a_wrong_column_and_named_once(classifier, tmp_path, capsys):
    pd.DataFrame({"text": [b"fine", b"dull"]}).to_parquet(tmp_path / "in.parquet")
    with pytest.raises(InputError, match="column 'text' holds binary, no texts"):
        label_file(classifier, tmp_path / "in.parquet", tmp_path / "out.parquet")
    assert "row 1" not in capsys.readouterr().err


WRAPPED = {
    "a.tsv": b"id\ttext\n007\tgreat, film\n",
    "a.csv.gz": gzip.compress(b'id,text\n007,"great, film"\n'),
    "a.ndjson": b'{"id": "007", "text": "great, film"}\n',
    "a.json": b'[{"id": "007", "text": "great, film"}]\n',
    "a.json.gz": gzip.compress(b'\n [{"id": "007", "text": "great, film"}]'),
    "lines.json": b'{"id": "007", "text": "great, film"}\n',
    "array.jsonl": b'[{"id": "007", "text": "great, film"}]',
    "a.TSV.GZ": gzip.compress(b"id\ttext\n007\tgreat, film\n"),
}


@pytest.mark.parametrize("name", WRAPPED)
def test_the_same_table_in_another_wrapping_is_labelled_and_keeps_it(classifier, tmp_path, name):
    (tmp_path / name).write_bytes(WRAPPED[name])
    target = tmp_path / f"out-{name}"
    assert label_file(classifier, tmp_path / name, target) == (1, 0)
    content = target.read_bytes()
    if name.lower().endswith(".gz"):
        content = gzip.decompress(content)
    text = content.decode()
    if ".json" in name or "ndjson" in name:
        row = json.loads(text)
        row = row[0] if name.lower().removesuffix(".gz").endswith(".json") else row
    else:
        row = next(
            csv.DictReader(io.StringIO(text), delimiter="\t" if "tsv" in name.lower() else ",")
        )
    assert row["id"] == "007"
    assert row["text"] == "great, film"
    assert row["predicted_label"] == classifier.predict("great, film")[0].label


def test_an_array_of_many_objects_comes_back_as_one(classifier, tmp_path, monkeypatch):
    monkeypatch.setattr("utils.tables.BLOCK", 2)
    (tmp_path / "in.json").write_text(json.dumps([{"text": text} for text in [*TEXTS, "dull"]]))
    assert label_file(classifier, tmp_path / "in.json", tmp_path / "out.json") == (5, 0)
    assert [row["text"] for row in json.loads((tmp_path / "out.json").read_text())] == [
        *TEXTS,
        "dull",
    ]


def test_another_separator_is_read_and_written(classifier, tmp_path):
    (tmp_path / "in.csv").write_text("id;text\n1;great, film\n2;dull;plot\n")
    found = label_file(classifier, tmp_path / "in.csv", tmp_path / "out.csv", Layout(separator=";"))
    assert found == (2, 1)
    header, *rows = (tmp_path / "out.csv").read_text().splitlines()
    assert header == "id;text;predicted_label;score;truncated"
    assert rows[0].startswith("1;great, film;")
    assert rows[1] == '2;"dull;plot";;;'


def test_an_input_that_has_scores_gets_others_beside_them(classifier, tmp_path):
    (tmp_path / "in.csv").write_text("text,score\ngreat,7\n")
    label_file(classifier, tmp_path / "in.csv", tmp_path / "out.csv", Layout(suffix="_2"))
    header, row = (tmp_path / "out.csv").read_text().splitlines()
    assert header == "text,score,predicted_label_2,score_2,truncated_2"
    assert row.startswith("great,7,")


@pytest.mark.parametrize("target", ["csv", "jsonl", "json", "parquet"])
def test_a_line_that_cannot_be_parsed_keeps_its_place_and_its_raw_text(
    classifier, tmp_path, target
):
    twice = '{"text": "great", "text": "dull"}'
    for bad in ("5", twice):
        lines = ['{"text": "great film"}', '{"text": "a dull fi', bad, '{"text": "weak"}']
        check_raw_lines(classifier, tmp_path, target, lines)


def check_raw_lines(classifier, tmp_path, target, lines):
    (tmp_path / "in.jsonl").write_text("\n".join(lines))
    assert label_file(classifier, tmp_path / "in.jsonl", tmp_path / f"out.{target}") == (4, 2)
    if target == "json":
        found = pd.DataFrame(json.loads((tmp_path / "out.json").read_text()))
    else:
        found = read(tmp_path / f"out.{target}")
    assert found["text"].tolist() == ["great film", lines[1], lines[2], "weak"]
    assert [label in ("POSITIVE", "NEGATIVE") for label in found["predicted_label"]] == [
        True, False, False, True,
    ]  # fmt: skip


@pytest.mark.parametrize("name", ["in.csv", "in.jsonl", "in.tsv", "in.json"])
def test_a_byte_order_mark_stays_and_is_no_part_of_a_name(classifier, tmp_path, name):
    """Excel takes a CSV without it for another encoding."""
    content = {
        "in.csv": "text,id\ngreat film,é\n",
        "in.tsv": "text\tid\ngreat film\té\n",
        "in.jsonl": '{"text": "great film"}\n',
        "in.json": '[{"text": "great film"}]',
    }
    for mark in ("\ufeff", ""):
        (tmp_path / name).write_text(mark + content[name], encoding="utf-8")
        target = tmp_path / f"out{Path(name).suffix}"
        assert label_file(classifier, tmp_path / name, target) == (1, 0)
        text = target.read_text(encoding="utf-8")
        assert text.startswith(mark)
        assert text.count("\ufeff") == len(mark)


def test_class_names_in_a_parquet_files_metadata_stay_readable(classifier, tmp_path):
    features = Features({"text": Value("string"), "label": ClassLabel(names=["neg", "pos"])})
    data = Dataset.from_dict({"text": ["great", "dull"], "label": [1, 0]}, features=features)
    data.to_parquet(tmp_path / "in.parquet")
    label_file(classifier, tmp_path / "in.parquet", tmp_path / "out.parquet")
    found = Dataset.from_parquet(str(tmp_path / "out.parquet"), cache_dir=str(tmp_path / "cache"))
    assert found.features["label"].names == ["neg", "pos"]
    assert len(found["predicted_label"]) == 2


def test_texts_without_a_token_are_empty(classifier, tmp_path, capsys):
    rows = pd.DataFrame({"text": ["\u200b\u200d", "\x07", "\u0301", "a moving film"]})
    save(rows, tmp_path / "in.jsonl")
    assert label_file(classifier, tmp_path / "in.jsonl", tmp_path / "out.jsonl") == (4, 3)
    assert capsys.readouterr().err.count("its 'text' is empty") == 3


def test_a_folder_is_no_output(classifier, tmp_path):
    save(pd.DataFrame({"text": TEXTS}), tmp_path / "in.csv")
    (tmp_path / "out.csv").mkdir()
    with pytest.raises(InputError, match=r"out\.csv is a folder"):
        label_file(classifier, tmp_path / "in.csv", tmp_path / "out.csv")


def test_the_input_is_not_overwritten(classifier, tmp_path):
    save(pd.DataFrame({"text": TEXTS}), tmp_path / "in.csv")
    with pytest.raises(InputError, match="take the place of the input"):
        label_file(classifier, tmp_path / "in.csv", tmp_path / "in.csv")


def test_the_script_labels_a_file_and_says_which_rows_it_could_not(classifier, tmp_path):
    stock = fold_head(classifier.model)
    folder = write_model(stock, classifier.tokenizer, "# A card", {}, tmp_path / "model")
    (tmp_path / "in.csv").write_bytes(BAD_CSV)
    out = label_here(folder, tmp_path / "in.csv", tmp_path / "out.jsonl")
    assert out.returncode == 0
    assert "row 3 has no label" in out.stderr
    assert out.stderr.splitlines()[-1] == "2 of 6 rows labelled."
    assert len((tmp_path / "out.jsonl").read_bytes().splitlines()) == 6


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """Nine files of reviews in three formats, one row of which has no text, and one broken file."""
    folder = tmp_path_factory.mktemp("files")
    for number in range(9):
        texts = [f"{text} {number}" for text in TEXTS] if number else [*TEXTS, ""]
        frame = pd.DataFrame(
            {"id": [f"{number}-{row}" for row in range(len(texts))], "text": texts}
        )
        save(frame, folder / f"part{number}.{FORMATS[number % 3]}")
    (folder / "notes.txt").write_text("no reviews\n")
    return folder


def label_here(exported, source, target, *more):
    given = ("--model", exported, "--input", source, "--output", target, *more)
    return run_script("model-inference.py", *given)


def label_files(exported, source, target, *more, **options):
    """The same in a process of its own, which can be killed."""
    script = ROOT / "scripts" / "model-inference.py"
    command = [sys.executable, script, "--model", exported, "--input", source, "--output", target]
    return subprocess.Popen(
        [*map(str, command), *more], stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        **options,
    )  # fmt: skip


def rows_in(folder) -> dict[str, tuple]:
    """Each row's label and score by its id, of all files; no id may be there twice."""
    found = {}
    for path in sorted(folder.glob("part*")):
        for row in read(path).to_dict("records"):
            assert row["id"] not in found
            found[row["id"]] = (row["predicted_label"] or None, float(row["score"] or "nan"))
    return found


@pytest.fixture(scope="module")
def labelled(exported, files, tmp_path_factory):
    target = tmp_path_factory.mktemp("labelled") / "out"
    run = label_here(exported, files, target)
    said = run.stderr
    assert run.returncode == 0, said
    assert "part0.csv, row 5 has no label" in said
    assert "36 of 37 rows labelled" in said
    return target


def test_each_file_of_a_folder_gets_an_output_and_no_row_is_lost(files, labelled):
    assert sorted(path.name for path in labelled.iterdir()) == sorted(
        ["labelled-by.json", *(path.name for path in files.glob("part*"))]
    )
    found = rows_in(labelled)
    assert len(found) == 37
    assert [name for name, row in found.items() if row[0] is None] == ["0-4"]


# The script, killed when so many files have their place and the next one is about to get its own.
KILLED = """
import os, runpy, signal, sys
from pathlib import Path

count, replace, sys.argv = int(sys.argv[1]), Path.replace, sys.argv[2:]

def killed(path, target):
    if len(list(Path(target).parent.glob("part*"))) == count:
        os.kill(os.getpid(), signal.SIGKILL)
    return replace(path, target)

Path.replace = killed
runpy.run_path(sys.argv[0], run_name="__main__")
"""


def test_a_run_over_a_folder_that_was_killed_twice_goes_on(exported, files, labelled, tmp_path):
    target, script = tmp_path / "out", ROOT / "scripts" / "model-inference.py"
    for count in (2, 5):
        arguments = [script, "--model", exported, "--input", files, "--output", target]
        command = [sys.executable, "-c", KILLED, str(count), *map(str, arguments)]
        run = subprocess.run(command, cwd=ROOT, capture_output=True, timeout=120)
        assert run.returncode == -signal.SIGKILL, run.stderr
    before = {path.name: path.stat().st_mtime_ns for path in target.glob("part*")}
    assert len(before) == 5
    run = label_here(exported, files, target)
    said = run.stderr
    assert run.returncode == 0, said
    assert all((target / name).stat().st_mtime_ns == time for name, time in before.items())
    assert rows_in(target).keys() == rows_in(labelled).keys()
    for name, (label, _) in rows_in(target).items():
        assert label == rows_in(labelled)[name][0]


def test_a_file_that_cannot_be_read_keeps_no_other_waiting(exported, files, tmp_path):
    source = tmp_path / "in"
    source.mkdir()
    (source / "a.csv").write_text("name\nno text\n")
    (source / "b.csv").write_text("text\ngreat\n")
    run = label_here(exported, source, tmp_path / "out")
    said = run.stderr
    assert run.returncode == 1
    assert "a.csv: a.csv has no column text or review" in said
    assert "1 files have no output" in said
    assert (tmp_path / "out" / "b.csv").exists()


def test_only_files_that_are_not_hidden_are_files_of_reviews(exported, tmp_path):
    source = tmp_path / "in"
    (source / "folder.parquet").mkdir(parents=True)  # as Spark writes one
    (source / "._a.csv").write_bytes(b"\0\5\26\7")  # as macOS leaves one
    (source / "a.csv").write_text("text\ngreat\n")
    found = list(label_folder(Work(exported, source, tmp_path / "out"), local))
    assert [(one.file, one.problem) for one in found] == [("a.csv", None)]


def test_subfolders_are_mirrored_and_what_is_not_labelled_is_named(exported, tmp_path):
    source = tmp_path / "in"
    (source / "sub" / "deeper").mkdir(parents=True)
    (source / "a.csv").write_text("text\ngreat\n")
    (source / "sub" / "a.csv").write_text("text\ndull\n")
    (source / "sub" / "deeper" / "b.tsv").write_text("text\tid\ndull\t1\n")
    (source / "notes.txt").write_text("no reviews\n")
    (source / "sub" / "sheet.xlsx").write_bytes(b"PK")
    (source / "elsewhere").symlink_to(tmp_path)

    def labelled() -> dict:
        # The outputs are in the folder of the inputs, and are none of them.
        found = label_folder(Work(exported, source, source / "out"), local)
        return {one.file: (one.rows, one.before, one.left_out, one.problem) for one in found}

    left_out = {name: (0, False, "its extension is not read", None)
                for name in ("notes.txt", "sub/sheet.xlsx")}  # fmt: skip
    left_out["elsewhere"] = (0, False, "it is a link to a folder", None)
    first = labelled()
    assert first == left_out | dict.fromkeys(
        ["a.csv", "sub/a.csv", "sub/deeper/b.tsv"], (1, False, None, None)
    )
    assert (source / "out" / "sub" / "deeper" / "b.tsv").exists()
    again = labelled()
    assert again["sub/a.csv"] == (0, True, None, None)
    assert again.keys() == first.keys()


def test_a_file_of_which_no_row_could_be_labelled_is_tried_again(exported, tmp_path):
    source, target = tmp_path / "in", tmp_path / "out"
    source.mkdir()
    (source / "a.csv").write_text("text\n \n\u200b\n", encoding="utf-8")
    (source / "b.csv").write_text("id;text\n1;great\n")
    for _ in range(2):
        run = label_here(exported, source, target)
        said = run.stderr
        assert run.returncode == 1
        assert "a.csv was not labelled: none of its 2 rows" in said
        assert "is it separated by ';'" in said
        assert "labelled before" not in said
        assert [path.name for path in target.iterdir()] == ["labelled-by.json"]
    run = label_here(exported, source, tmp_path / "other", "--separator", ";")
    said = run.stderr
    assert "b.csv: 1 of 1 rows labelled" in said


def test_an_output_that_is_not_what_was_written_does_not_count_as_done(exported, tmp_path):
    source, target = tmp_path / "in", tmp_path / "out"
    source.mkdir()
    (source / "a.csv").write_text("text\ngreat\ndull\n\u200b\n", encoding="utf-8")
    list(label_folder(Work(exported, source, target), local))
    recorded = json.loads((target / "labelled-by.json").read_text(encoding="utf-8"))["outputs"]
    size = (target / "a.csv").stat().st_size
    by = "torch, fp32" if precision()[0] == "fp32" else "torch, bf16"
    expected = {"rows": 3, "unlabelled": 1, "runtime": by, "bytes": size}
    assert recorded == {"a.csv": expected}
    os.truncate(target / "a.csv", size - 5)
    with pytest.raises(InputError, match=r"a\.csv has .* bytes, and .* were written: delete it"):
        list(label_folder(Work(exported, source, target), local))


def test_two_processes_share_the_files_of_a_folder(exported, files, tmp_path):
    """Or the second one names those that the first is writing; no output is torn."""
    runs = [label_files(exported, files, tmp_path / "out") for _ in range(2)]
    for run in runs:
        run.communicate(timeout=120)
    run = label_here(exported, files, tmp_path / "out")
    said = run.stderr
    assert run.returncode == 0, said
    assert len(rows_in(tmp_path / "out")) == 37
    hidden = [path.name for path in (tmp_path / "out").iterdir() if path.name.startswith(".")]
    assert not hidden


def test_whatever_is_in_one_file_the_next_one_is_labelled(exported, tmp_path, monkeypatch):
    source = tmp_path / "in"
    source.mkdir()
    os.mkfifo(source / "a.csv")  # nobody writes into it: opening it would never end
    (source / "b.csv").symlink_to("/dev/zero")
    (source / "c.csv").write_text("text\ngreat\n")
    (source / "d.csv").write_text("text\ngreat\n")
    (source / os.fsdecode(b"caf\xe9.csv")).write_text("text\ngreat\n")

    def label_or_break(classifier, path, *others):
        if path.name == "c.csv":
            raise MemoryError("too much")
        return label_file(classifier, path, *others)

    monkeypatch.setattr("utils.inference.folders.label_file", label_or_break)
    found = list(label_folder(Work(exported, source, tmp_path / "out"), local))
    problems = {os.fsencode(one.file): one.problem for one in found}
    assert "no regular file" in problems[b"a.csv"]
    assert "no regular file" in problems[b"b.csv"]
    assert problems[b"c.csv"] == "MemoryError: too much"
    assert problems[b"d.csv"] is None
    assert problems[b"caf\xe9.csv"] is None
    assert (tmp_path / "out" / os.fsdecode(b"caf\xe9.csv")).exists()


def test_a_small_parquet_of_long_texts_is_read_a_few_at_once(tmp_path, monkeypatch):
    """A text is stored once, however many rows have it: together they would fill the memory."""
    monkeypatch.setattr("utils.tables.BLOCK_BYTES", 10**6)
    texts = [*["x" * 400_000] * 30, None, "short", *["y"] * 2000]
    frame = pd.DataFrame({"text": texts, "n": range(len(texts))})
    frame.to_parquet(tmp_path / "in.parquet")
    assert (tmp_path / "in.parquet").stat().st_size < 100_000
    blocks = list(read_table(tmp_path / "in.parquet"))
    assert max(sum(len(row["text"] or "") for row in block.rows) for block in blocks) <= 1_200_000
    assert len(blocks) < 40
    assert [row["text"] for block in blocks for row in block.rows] == texts
    assert blocks[-1].share == 1.0
    assert blocks[0].schema.field("text").type == "large_string"  # as pandas writes it


@pytest.mark.parametrize("nested", [
    lambda text: [text] * 3, lambda text: {"inner": text}, lambda text: {"inner": [text, None]},
    lambda text: [{"inner": text}],
])  # fmt: skip
def test_long_texts_in_lists_are_read_a_few_at_once(tmp_path, monkeypatch, nested):
    monkeypatch.setattr("utils.tables.BLOCK_BYTES", 10**6)
    rows = [{"text": "fine", "more": nested("x" * 100_000)} for _ in range(40)]
    rows += [{"text": "fine", "more": None}, {"text": "fine", "more": nested("short")}]
    table = pa.Table.from_pylist(rows)
    pq.write_table(table, tmp_path / "in.parquet")
    blocks = list(read_table(tmp_path / "in.parquet"))
    assert max(len(block.rows) for block in blocks) <= 11
    assert [row for block in blocks for row in block.rows] == table.to_pylist()
    monkeypatch.setattr("utils.tables.LONGEST_LINE", 90_000)
    with pytest.raises(InputError, match=r"in.parquet has a row of over 90,000 bytes"):
        list(read_table(tmp_path / "in.parquet"))


@pytest.mark.parametrize("kind", [
    pa.map_(pa.string(), pa.string()), pa.list_(pa.string(), 2), pa.list_(pa.int64()),
    pa.large_list(pa.large_string()),
], ids=str)  # fmt: skip
def test_lists_of_all_kinds_come_through(tmp_path, kind):
    value = {"map": [("a", "b")], "fix": ["a", "b"]}.get(str(kind)[:3], ["a"])
    value = [1, 2] if kind == pa.list_(pa.int64()) else value
    table = pa.table({"text": ["fine"] * 3, "more": pa.array([value, None, value], kind)})
    pq.write_table(table, tmp_path / "in.parquet")
    assert next(read_table(tmp_path / "in.parquet")).rows == table.to_pylist()


def test_a_few_bytes_cannot_describe_endless_lists(tmp_path, monkeypatch):
    monkeypatch.setattr("utils.tables.MOST_LISTED", 10**6)
    pq.write_table(
        pa.table({"text": ["fine"], "more": [[0] * (10**6 + 2)]}), tmp_path / "in.parquet"
    )
    assert (tmp_path / "in.parquet").stat().st_size < 5000
    with pytest.raises(InputError, match=r"lists of 1,000,002 values in the column more"):
        list(read_table(tmp_path / "in.parquet"))


@pytest.mark.parametrize(("first", "later"), [
    (1, 2.7), ([2], [2.5]), ({"x": 1}, {"x": 1, "y": "lost"}), (1, "one"),
])  # fmt: skip
def test_parquet_loses_no_value_that_the_first_rows_did_not_announce(
    classifier, tmp_path, monkeypatch, first, later
):
    monkeypatch.setattr("utils.tables.BLOCK", 2)
    rows = [{"text": "great film", "a": value} for value in (first, None, later)]
    (tmp_path / "in.jsonl").write_text("\n".join(map(json.dumps, rows)))
    with pytest.raises(InputError, match="A column does not keep one type"):
        label_file(classifier, tmp_path / "in.jsonl", tmp_path / "out.parquet")
    label_file(classifier, tmp_path / "in.jsonl", tmp_path / "out.jsonl")
    assert [row["a"] for row in read(tmp_path / "out.jsonl").to_dict("records")][2] == later


def test_what_one_type_holds_is_written(classifier, tmp_path, monkeypatch):
    monkeypatch.setattr("utils.tables.BLOCK", 2)
    values = [{"x": 1.5}, {"x": 2, "y": None}, {}, None, {"x": float("nan")}]
    rows = [{"text": "great film", "a": value} for value in values]
    (tmp_path / "in.jsonl").write_text("\n".join(map(json.dumps, rows)))
    label_file(classifier, tmp_path / "in.jsonl", tmp_path / "out.parquet")
    assert len(read(tmp_path / "out.parquet")) == 5


def test_categories_keep_their_values_and_claim_no_order(classifier, tmp_path):
    size = pd.Categorical(["hi", "lo"], categories=["lo", "mid", "hi"], ordered=True)
    pd.DataFrame({"text": ["great film", "weak plot"], "size": size}).to_parquet(
        tmp_path / "in.parquet"
    )
    label_file(classifier, tmp_path / "in.parquet", tmp_path / "out.parquet")
    found = pd.read_parquet(tmp_path / "out.parquet")["size"]
    assert found.tolist() == ["hi", "lo"]
    assert not found.cat.ordered


@pytest.mark.parametrize(("name", "lines"), [
    ("in.tsv", ["text\tlabel", '"A great film\t1', "Ok\t1", 'The worst"\t0', "Last\t0"]),
    ("in.csv", ["text,label", '"A great film,1', "Ok,1", 'The worst",0', "Last,0"]),
    ("in.csv", ["label,text", '1,"A great film', "1,Ok", '0,The worst"', "0,Last"]),
    ("in.tsv", ["title\ttext", '"Heat\tA dull film', "The Mask\tA great film",
                'The Ring 2"\tBoring', "X men\tfine"]),
    ("in.csv", ["text,author", '"A must see,John Smith', 'a screen of 60",Bob Lee', "Last,0"]),
])  # fmt: skip
def test_rows_between_two_quotes_are_no_text(classifier, tmp_path, capsys, name, lines):
    (tmp_path / name).write_text("\n".join(lines))
    assert label_file(classifier, tmp_path / name, tmp_path / f"out-{name}") == (2, 1)
    assert "row 1 has no label: a quoted cell looks like several rows" in capsys.readouterr().err


@pytest.mark.parametrize("text", [
    "Acting,great\nPlot,weak\nMusic,superb", "It was:\ngood,bad and ugly",
    "One\n10/10,would watch again",
])  # fmt: skip
def test_lines_that_only_look_like_rows_are_a_text(classifier, tmp_path, text):
    pd.DataFrame({"text": [text], "label": [1]}).to_csv(tmp_path / "in.csv", index=False)
    assert label_file(classifier, tmp_path / "in.csv", tmp_path / "out.csv") == (1, 0)


def test_a_review_of_several_lines_with_commas_is_a_text(classifier, tmp_path):
    text = "Good, really good,\nbut long: 10,000\r\nminutes. Well, fine"
    pd.DataFrame({"text": [text], "label": [1]}).to_csv(tmp_path / "in.csv", index=False)
    assert label_file(classifier, tmp_path / "in.csv", tmp_path / "out.csv") == (1, 0)


def test_files_without_a_row_are_an_error(exported, classifier, tmp_path):
    contents = {"in.jsonl": "", "in.json": "[]", "in.csv": "text,label\n", "in.ndjson": "\n\n"}
    source = tmp_path / "in"
    source.mkdir()
    for name, content in contents.items():
        (source / name).write_text(content)
    for name in ("in.jsonl", "in.json", "in.ndjson"):
        with pytest.raises(InputError, match=f"{name} holds no rows"):
            label_file(classifier, source / name, tmp_path / name)
    for name in ("in.jsonl", "in.json", "in.ndjson"):
        (source / name).unlink()
    for given, output in ((source, "out"), (source / "in.csv", "out.csv")):
        done = run_script("model-inference.py", "--model", exported, "--input", given,
                          "--output", tmp_path / output)  # fmt: skip
        assert done.returncode == 1
        assert done.stderr.splitlines()[-1].startswith("error: ")
        assert "Traceback" not in done.stderr


def test_a_link_is_named_as_one_and_a_broken_link_as_broken(exported, tmp_path):
    source, elsewhere = tmp_path / "in", tmp_path / "elsewhere"
    for folder in (source, elsewhere):
        folder.mkdir()
        (folder / "a.csv").write_text("text\ngreat\n")
    (source / "linked").symlink_to(elsewhere)
    (source / "b.csv").symlink_to(elsewhere / "a.csv")
    found = {one.file: one for one in label_folder(Work(exported, source, tmp_path / "out"), local)}
    assert found["linked"].left_out == "it is a link to a folder"
    (elsewhere / "a.csv").unlink()
    found = {one.file: one for one in label_folder(Work(exported, source, tmp_path / "out"), local)}
    assert "does not exist" in found["b.csv"].problem


def test_a_first_line_for_excel_alone_is_named(classifier, tmp_path):
    (tmp_path / "in.csv").write_text("sep=;\ntext;label\ngreat;1\n")
    with pytest.raises(InputError, match="'sep=', which Excel alone reads: delete that line"):
        label_file(classifier, tmp_path / "in.csv", tmp_path / "out.csv", Layout(separator=";"))


def test_long_lines_are_held_a_few_at_once(tmp_path, monkeypatch):
    monkeypatch.setattr("utils.tables.BLOCK_BYTES", 10**6)
    row = json.dumps({"text": "x" * 400_000})
    (tmp_path / "in.jsonl").write_text("\n".join([row] * 30))
    blocks = list(read_table(tmp_path / "in.jsonl"))
    assert max(len(block.rows) for block in blocks) <= 4
    assert sum(len(block.rows) for block in blocks) == 30


def test_a_link_to_nowhere_keeps_no_other_file_waiting(exported, tmp_path):
    source = tmp_path / "in"
    source.mkdir()
    (source / "a.csv").symlink_to(tmp_path / "elsewhere.csv")
    (source / "b.csv").write_text("text\ngreat\n")

    def problems() -> list:
        found = label_folder(Work(exported, source, tmp_path / "out"), local)
        return [one.problem and one.problem.rsplit("/", 1)[1] for one in found]

    assert problems() == ["a.csv does not exist.", None]
    (tmp_path / "elsewhere.csv").write_text("text\ndull\n")
    assert problems() == [None, None]


def test_the_onnx_copy_of_a_model_is_refused_for_a_folder_too(exported, files, tmp_path):
    model = tmp_path / "model-onnx"
    shutil.copytree(exported, model)
    (model / "model.safetensors").rename(model / "model.onnx")
    write_manifest(model, {})
    with pytest.raises(InputError, match="holds no torch weights"):
        list(label_folder(Work(model, files, tmp_path / "out"), local))


def test_files_of_which_nothing_is_known_do_not_count_as_labelled(exported, files, tmp_path):
    (tmp_path / "part1.jsonl").write_text("mine\n")
    with pytest.raises(InputError, match="of which nothing is known"):
        list(label_folder(Work(exported, files, tmp_path), local))
    assert (tmp_path / "part1.jsonl").read_text() == "mine\n"


def test_a_folder_of_another_models_labels_is_refused(exported, files, labelled, tmp_path):
    target = tmp_path / "out"
    target.mkdir()
    (target / "labelled-by.json").write_text('{"model_sha256": "other"}')
    run = label_here(exported, files, target)
    said = run.stderr
    assert run.returncode == 1
    assert "holds labels by another model" in said


def test_labels_of_another_column_are_not_added_to(exported, files, labelled, tmp_path):
    target = tmp_path / "out"
    shutil.copytree(labelled, target)
    run = label_here(exported, files, target, "--text-column", "id")
    said = run.stderr
    assert run.returncode == 1
    assert "or of another column" in said


def test_another_file_of_the_same_name_does_not_count_as_labelled(exported, tmp_path):
    """As from another folder, or where it was changed since."""
    source, target = tmp_path / "in", tmp_path / "out"
    source.mkdir()
    for name in ("a.csv", "b.csv"):
        (source / name).write_text("text\ngreat\n")

    def labelled() -> list[tuple]:
        found = label_folder(Work(exported, source, target), local)
        return [(one.file, one.rows, one.before) for one in found]

    assert labelled() == [("a.csv", 1, False), ("b.csv", 1, False)]
    (source / "b.csv").write_text("text\ngreat\ndull\n")
    with pytest.raises(InputError, match=r"out/b\.csv .* another file: delete it"):
        labelled()
    (target / "b.csv").unlink()
    assert labelled() == [("a.csv", 0, True), ("b.csv", 2, False)]
    assert labelled() == [("a.csv", 0, True), ("b.csv", 0, True)]


def test_a_file_does_not_stand_in_for_the_folder_of_outputs(exported, files, tmp_path):
    (tmp_path / "out.csv").write_text("mine")
    run = label_here(exported, files, tmp_path / "out.csv")
    said = run.stderr
    assert run.returncode == 1
    assert "out.csv is a file: for a folder of files give a folder" in said
    assert (tmp_path / "out.csv").read_text() == "mine"


@pytest.mark.slow
def test_ray_labels_the_same_and_goes_on_after_a_kill(exported, files, labelled, tmp_path):
    pytest.importorskip("ray", reason="the extra ray")
    target = tmp_path / "out"
    killed = label_files(exported, files, target, "--engine", "ray", start_new_session=True)
    end = time.monotonic() + 240
    while len(list(target.glob("part*"))) < 2:
        assert killed.poll() is None
        assert time.monotonic() < end
        time.sleep(0.01)
    os.killpg(killed.pid, signal.SIGKILL)
    killed.communicate()
    # From elsewhere, as whoever keeps the reviews outside this repository.
    run = label_files(exported, files, target, "--engine", "ray", cwd=tmp_path)
    _, said = run.communicate(timeout=240)
    assert run.returncode == 0, said
    expected, found = rows_in(labelled), rows_in(target)
    assert found.keys() == expected.keys()
    for name, (label, score) in found.items():
        assert label == expected[name][0]
        assert score == pytest.approx(expected[name][1], abs=0.01, nan_ok=True)


def test_a_cluster_that_does_not_answer_is_a_sentence(exported, tmp_path, monkeypatch):
    ray = pytest.importorskip("ray", reason="the extra ray")

    def refused(**_):
        raise ConnectionError("Failed to connect to Ray cluster at 10.0.0.1:6379")

    monkeypatch.setattr(ray, "init", refused)
    with pytest.raises(InputError, match="6379: is it started, and RAY_AUTH_MODE=token"):
        list(on_ray(Work(exported, tmp_path, tmp_path / "out"), ["a.csv"]))


@pytest.mark.slow
def test_ray_gets_an_actor_for_each_of_its_processors(exported, tmp_path, monkeypatch):
    ray = pytest.importorskip("ray", reason="the extra ray")
    sizes = []
    monkeypatch.setattr(ray, "cluster_resources", lambda: {"CPU": 3.0})
    strategy = ray.data.ActorPoolStrategy
    monkeypatch.setattr(
        ray.data, "ActorPoolStrategy", lambda size: sizes.append(size) or strategy(size=1)
    )
    for count in (2, 5):
        work = Work(exported, tmp_path, tmp_path / "out")
        found = list(on_ray(work, [f"{number}.csv" for number in range(count)]))
        assert all("does not exist" in one.problem for one in found)
    ray.shutdown()
    assert sizes == [2, 3]


def test_what_is_not_installed_is_named_with_the_extra_that_installs_it():
    with pytest.raises(InputError, match=r"Not installed: zebra: pip install .* -e \"\.\[ray\]\""):
        require_packages("ray", "json", "zebra")


@pytest.mark.parametrize(("name", "content", "why"), [
    ("in.csv.gz", b"text\ngood\n" + b"a" * 10**6, "has a line of over 500,000 bytes"),
    ("in.csv.gz", b"text\ngood\n" + b'"\n",' * 10**5 * 2, "has a row of over 500,000 bytes"),
    ("in.json.gz", b'[{"text":"good"}' + b",{}" * 10**5 + b"]", "has more than 50,000 values"),
])  # fmt: skip
def test_a_few_packed_bytes_cannot_ask_for_memory(tmp_path, monkeypatch, name, content, why):
    monkeypatch.setattr("utils.tables.LONGEST_LINE", 500_000)
    monkeypatch.setattr("utils.tables.MOST_VALUES", 50_000)
    monkeypatch.setattr("utils.tables.MOST_PACKED", 10**6)
    with gzip.open(tmp_path / name, "wb") as file:
        file.write(content)
    with pytest.raises(InputError, match=why):
        list(read_table(tmp_path / name))


def test_a_line_of_endless_values_keeps_its_place(tmp_path, monkeypatch):
    monkeypatch.setattr("utils.tables.MOST_OBJECTS", 1000)
    lines = ['{"text": "good", "x": [{}' + ",{}" * 2000 + "]}", '{"text": "fine"}']
    (tmp_path / "in.jsonl").write_text("\n".join(lines))
    (block,) = read_table(tmp_path / "in.jsonl")
    assert "it has more than" in block.problems[0]
    assert block.rows[1] == {"text": "fine"}


def test_an_array_on_one_long_line_is_no_line(tmp_path, monkeypatch):
    monkeypatch.setattr("utils.tables.LONGEST_LINE", 1000)
    rows = [{"text": "good" * 100} for _ in range(20)]
    (tmp_path / "in.json").write_text(json.dumps(rows))
    assert next(read_table(tmp_path / "in.json")).rows == rows


def test_a_lone_carriage_return_ends_a_row_and_in_quotes_it_does_not(tmp_path):
    (tmp_path / "in.csv").write_bytes(b'text,n\rgood,1\r"two\rlines",2\rlast,3')
    (block,) = read_table(tmp_path / "in.csv")
    found = [(row["text"], row["n"]) for row in block.rows]
    assert found == [("good", "1"), ("two\rlines", "2"), ("last", "3")]


def test_a_model_of_the_same_weights_and_another_configuration_is_another(exported, tmp_path):
    source, other = tmp_path / "in", tmp_path / "other"
    source.mkdir()
    (source / "a.csv").write_text("text\ngreat\n")
    list(label_folder(Work(exported, source, tmp_path / "out"), local))
    shutil.copytree(exported, other)
    config = json.loads((other / "config.json").read_text())
    (other / "config.json").write_text(json.dumps(config | {"activation": "relu"}))
    write_manifest(other, {})
    with pytest.raises(InputError, match="holds labels by another model"):
        list(label_folder(Work(other, source, tmp_path / "out"), local))


def test_a_cell_of_many_separators_is_read_in_no_time(tmp_path):
    (tmp_path / "in.csv").write_text('text,n\n"' + "," * 300_000 + ' b\nc",1\n')
    started = time.perf_counter()
    (block,) = read_table(tmp_path / "in.csv")
    assert time.perf_counter() - started < 5
    assert not block.problems


def test_many_columns_are_held_a_few_rows_at_once(tmp_path):
    header = ",".join(f"c{number}" for number in range(9000))
    (tmp_path / "in.csv").write_text(f"{header}\n" + f"a{',' * 8999}\n" * 1000)
    blocks = list(read_table(tmp_path / "in.csv"))
    assert max(len(block.rows) for block in blocks) * 9000 <= 2**20
    (tmp_path / "in.csv").write_text(",".join(f"c{number}" for number in range(10_001)) + "\n")
    with pytest.raises(InputError, match="has 10,001 columns, of 10,000 at most"):
        list(read_table(tmp_path / "in.csv"))


def test_a_column_that_unpacks_to_far_more_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr("utils.tables.LONGEST_LINE", 10**6)
    table = pa.table({"text": ["x" * 5_000_000]})
    pq.write_table(table, tmp_path / "in.parquet", compression="zstd", use_dictionary=False)
    for read in (lambda path: list(read_table(path)), read_frame):
        with pytest.raises(InputError, match="the column text unpacks to 5,000,"):
            read(tmp_path / "in.parquet")


def test_a_second_header_is_no_review(classifier, tmp_path, capsys):
    (tmp_path / "in.csv").write_text("text,n\ngreat,1\ntext,n\nweak,2\n")  # cat a.csv b.csv
    assert label_file(classifier, tmp_path / "in.csv", tmp_path / "out.csv") == (3, 1)
    assert "row 2 has no label: it repeats the header" in capsys.readouterr().err


def test_a_file_without_rows_does_not_count_as_labelled_before(exported, tmp_path):
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.csv").write_text("text\n")
    work = Work(exported, tmp_path / "in", tmp_path / "out")
    for _ in range(2):
        (found,) = label_folder(work, local)
        assert (found.rows, found.before) == (0, False)


def test_what_parquet_or_python_cannot_hold_is_an_error(classifier, tmp_path):
    (tmp_path / "in.jsonl").write_text('{"text": "great", "k\\ud83d": 1}\n')
    with pytest.raises(InputError, match=r"Write \.jsonl"):
        label_file(classifier, tmp_path / "in.jsonl", tmp_path / "out.parquet")
    when = pa.array([2**62], pa.timestamp("ms"))
    pq.write_table(pa.table({"text": ["great"], "when": when}), tmp_path / "in.parquet")
    with pytest.raises(InputError, match="cannot be read as parquet"):
        label_file(classifier, tmp_path / "in.parquet", tmp_path / "out.jsonl")


def test_a_byte_order_mark_within_a_file_is_a_part_of_its_text(classifier, tmp_path):
    """Two files that were joined have one in the middle, and the header again."""
    (tmp_path / "in.csv").write_text("id,text\n1,great\n\ufeffid,text\n\ufeff2,great\n")
    assert label_file(classifier, tmp_path / "in.csv", tmp_path / "out.csv") == (3, 1)
    assert "\n\ufeff2,great" in (tmp_path / "out.csv").read_text().replace("\r", "")


@pytest.mark.parametrize(("content", "said"), [
    (gzip.compress(b"text\ngreat\n"), r"packed by gzip: name it in\.csv\.gz"),
    ("text\ngreat\n".encode("utf-16"), "is UTF-16: save it as UTF-8"),
], ids=["gzip", "UTF-16"])  # fmt: skip
def test_a_file_in_another_wrapping_than_its_name_says_is_named(
    classifier, tmp_path, content, said
):
    (tmp_path / "in.csv").write_bytes(content)
    with pytest.raises(InputError, match=said):
        label_file(classifier, tmp_path / "in.csv", tmp_path / "out.csv")


def test_times_of_nanoseconds_are_refused_since_they_would_lose_digits(classifier, tmp_path):
    table = pa.table({"text": ["great"], "at": pa.array([1], pa.time64("ns"))})
    pq.write_table(table, tmp_path / "in.parquet")
    with pytest.raises(InputError, match="times in the column at have nanoseconds"):
        label_file(classifier, tmp_path / "in.parquet", tmp_path / "out.parquet")


def test_what_is_small_and_stands_for_very_much_is_refused(classifier, tmp_path, monkeypatch):
    """Else a few bytes hold up the files behind them, and fill the disk."""
    monkeypatch.setattr("utils.tables.LONGEST_LINE", 10**5)
    monkeypatch.setattr("utils.tables.MOST_SHARED", 10**5)
    (tmp_path / "in.csv.gz").write_bytes(gzip.compress(b"text\n" + b"great\n" * 100_000))
    texts = pa.DictionaryArray.from_arrays([0] * 20_000, ["great film " * 1000])
    pq.write_table(pa.table({"text": texts.cast(pa.string())}), tmp_path / "in.parquet")
    for name, why in (("in.csv.gz", "unpacks to over 100 times"), ("in.parquet", "repeats its")):
        with pytest.raises(InputError, match=why):
            label_file(classifier, tmp_path / name, tmp_path / "out.csv")


def test_objects_with_keys_of_their_own_are_held_a_few_at_once(classifier, tmp_path, monkeypatch):
    monkeypatch.setattr("utils.tables.MOST_CELLS", 10_000)
    monkeypatch.setattr("utils.tables.MOST_COLUMNS", 50)
    rows = [{"text": "great"} | {f"key{row}-{n}": n for n in range(20)} for row in range(99)]
    (tmp_path / "in.jsonl").write_text("\n".join(map(json.dumps, rows)))
    blocks = list(read_table(tmp_path / "in.jsonl"))
    assert sum(len(block.rows) for block in blocks) == 99
    for block in blocks:
        assert len({name for row in block.rows for name in row}) * len(block.rows) < 12_000
    rows[0] |= {f"more{n}": n for n in range(30)}
    (tmp_path / "in.jsonl").write_text("\n".join(map(json.dumps, rows)))
    (block, *_) = read_table(tmp_path / "in.jsonl")
    assert "it has 51 columns, of 50 at most" in block.problems[0]


@pytest.mark.parametrize("depth", [60, 900])
def test_what_is_nested_too_deeply_for_parquet_is_a_sentence(classifier, tmp_path, depth):
    """Pyarrow writes a file that it cannot read, or fails, as its version and Python's have it."""
    nested = "[" * depth + "]" * depth
    (tmp_path / "in.jsonl").write_text(f'{{"text": "great", "more": {nested}}}\n')
    with pytest.raises(InputError, match=r"Write \.jsonl"):
        label_file(classifier, tmp_path / "in.jsonl", tmp_path / "out.parquet")


def test_an_object_over_several_lines_is_named(classifier, tmp_path):
    (tmp_path / "in.json").write_text(json.dumps({"reviews": [{"text": "great"}]}, indent=2))
    with pytest.raises(InputError, match="holds objects over several lines"):
        label_file(classifier, tmp_path / "in.json", tmp_path / "out.csv")


def test_of_text_and_review_it_is_said_which_is_labelled(classifier, tmp_path, capsys):
    (tmp_path / "in.csv").write_text("text,review\nTitle,great film\n")
    label_file(classifier, tmp_path / "in.csv", tmp_path / "out.csv")
    assert "'text' and 'review' the first is read" in capsys.readouterr().err
    label_file(classifier, tmp_path / "in.csv", tmp_path / "out.csv", Layout("review"))
    assert "the first is read" not in capsys.readouterr().err


def test_a_parquet_file_of_very_many_columns_is_refused(classifier, tmp_path):
    columns = {"text": ["great"]} | {f"c{n}": [1] for n in range(10_001)}
    pq.write_table(pa.table(columns), tmp_path / "in.parquet")
    with pytest.raises(InputError, match="10,002 columns"):
        label_file(classifier, tmp_path / "in.parquet", tmp_path / "out.parquet")


@pytest.mark.skipif(sys.platform != "linux", reason="memory is limited on Linux alone")
def test_a_parquet_file_that_takes_all_memory_is_refused(classifier, tmp_path, monkeypatch):
    texts = pa.array(["great film" * 10**7])
    pq.write_table(pa.table({"text": ["great"], **dict.fromkeys("abcdefgh", texts)}),
                   tmp_path / "in.parquet", use_dictionary=False, compression="zstd")  # fmt: skip
    monkeypatch.setattr("utils.tables.check_parquet", lambda metadata, path: None)  # deceived
    monkeypatch.setattr("utils.tables.MOST_MEMORY", 2**25)
    with pytest.raises(InputError, match="cannot be read as parquet"):
        label_file(classifier, tmp_path / "in.parquet", tmp_path / "out.parquet")


def test_rows_of_json_on_standard_input_are_no_reviews(exported):
    lines = '{"text": "great film", "note": "a"}\n{"text": "dull", "note": "b"}\n'
    run = run_script("model-inference.py", "--model", exported, stdin=lines)
    assert run.returncode == 1
    assert "standard input begins as a table does" in run.stderr


def test_lists_of_many_values_in_several_columns_are_refused(classifier, tmp_path):
    """A few bytes of which each value becomes a dict."""
    values = pa.array([[{"a": True}] * 2**20], pa.list_(pa.struct({"a": pa.bool_()})))
    columns = {"text": ["great"], **dict.fromkeys("abcdef", values)}
    pq.write_table(pa.table(columns), tmp_path / "in.parquet", compression="zstd")
    with pytest.raises(InputError, match="write smaller row groups"):
        label_file(classifier, tmp_path / "in.parquet", tmp_path / "out.parquet")


def test_a_damaged_footer_of_parquet_fails_alone(tmp_path):
    """Of it, pyarrow's own columns' sizes end the whole process."""
    whole = io.BytesIO()
    pq.write_table(pa.table({"text": ["A fine film."]}), whole)
    kept = whole.getvalue()
    place = kept.index(b"text", 100)  # in the footer
    for change in range(place - 60, place + 20):
        damaged = bytearray(kept)
        damaged[change] ^= 1
        (tmp_path / f"{change}.parquet").write_bytes(damaged)
    code = (
        "import sys\nfrom pathlib import Path\nfrom utils import InputError\n"
        "from utils.tables import read_table\nfrom utils.data.sources import read_frame\n"
        "for path in sorted(Path(sys.argv[1]).glob('*.parquet')):\n"
        "    for read in (lambda: list(read_table(path)), lambda: read_frame(path)):\n"
        "        try: read()\n"
        "        except InputError: pass\n"
    )
    run = subprocess.run([sys.executable, "-c", code, tmp_path], cwd=ROOT, capture_output=True)
    assert run.returncode == 0, run.stderr


def nested_lists(path: Path, depth: int, values: int, rows: int) -> None:
    """Lists of dicts in dicts; a few hundred bytes say all."""
    items, kind = pa.array([None] * values, pa.int8()), pa.int8()
    for _ in range(depth):
        items = pa.StructArray.from_arrays([items], ["a"])
        kind = pa.struct({"a": kind})
    starts = pa.array([row * values // rows for row in range(rows + 1)], pa.int32())
    lists = pa.ListArray.from_arrays(starts, items)
    pq.write_table(pa.table({"text": ["great film"] * rows, "lists": lists}), path)


def test_values_in_several_dicts_each_count_as_many(classifier, tmp_path):
    nested_lists(tmp_path / "in.parquet", depth=5, values=2**20, rows=1)
    with pytest.raises(InputError, match="write smaller row groups"):
        label_file(classifier, tmp_path / "in.parquet", tmp_path / "out.parquet")
    nested_lists(tmp_path / "in.parquet", depth=3, values=2**20, rows=512)
    blocks = list(read_table(tmp_path / "in.parquet"))
    assert max(len(block.rows) for block in blocks) <= 128
    assert sum(len(block.rows) for block in blocks) == 512


def test_the_values_of_all_groups_and_columns_are_bounded(tmp_path, monkeypatch):
    lists = pa.array([[None] * 2**21], pa.list_(pa.int8()))
    table = pa.table({"text": ["great film"], "lists": lists})
    with pq.ParquetWriter(tmp_path / "in.parquet", table.schema, compression="zstd") as writer:
        for _ in range(33):
            writer.write_table(table)
    with pytest.raises(InputError, match="has over 67,108,864 values, a hundred times its bytes"):
        list(read_table(tmp_path / "in.parquet"))
    empty = pa.nulls(10**6, pa.int8())
    columns = {"text": empty.cast(pa.string())} | {f"c{number}": empty for number in range(100)}
    pq.write_table(pa.table(columns), tmp_path / "in.parquet")
    with pytest.raises(InputError, match="has over 67,108,864 values"):
        list(read_table(tmp_path / "in.parquet"))


def test_a_parquet_file_of_which_a_group_is_lost_is_damaged(classifier, tmp_path):
    """A footer that counts other values: pyarrow ends where one column does."""
    rows = 3000
    table = pa.table({"text": ["great film"] * rows, "n": list(range(rows))})
    refused = 0
    for size in (1000, rows):
        pq.write_table(table, tmp_path / "whole.parquet", row_group_size=size)
        whole = (tmp_path / "whole.parquet").read_bytes()
        footer = len(whole) - 8 - int.from_bytes(whole[-8:-4], "little")
        coded = bytes([0x16, *_varint(2 * size)])  # a field of Thrift: a count of `size`
        places = [n for n in range(footer, len(whole)) if whole.startswith(coded, n)]
        for place, bit in itertools.product(places, range(1, 7)):
            damaged = bytearray(whole)
            damaged[place + 1] ^= 1 << bit
            (tmp_path / "in.parquet").write_bytes(damaged)
            try:
                found = list(read_table(tmp_path / "in.parquet"))
                trained_on = read_frame(tmp_path / "in.parquet")
            except InputError:
                refused += 1
            else:
                assert sum(len(block.rows) for block in found) == len(trained_on) == rows
    assert refused > 20


def _varint(number: int) -> list[int]:
    return [number] if number < 128 else [number % 128 + 128, *_varint(number // 128)]


def test_many_row_groups_are_opened_once(tmp_path):
    table = pa.table({"text": ["great"] * 3000})
    pq.write_table(table, tmp_path / "in.parquet", row_group_size=1)
    started = time.perf_counter()
    assert sum(len(block.rows) for block in read_table(tmp_path / "in.parquet")) == 3000
    assert time.perf_counter() - started < 6  # else they take thirteen


def test_the_first_group_that_is_too_large_is_the_last_one_that_is_read(tmp_path, monkeypatch):
    table = pa.table({"text": ["great"], "lists": pa.array([[None] * 2**23], pa.list_(pa.int8()))})
    with pq.ParquetWriter(tmp_path / "in.parquet", table.schema, compression="zstd") as writer:
        for _ in range(50):
            writer.write_table(table)
    started = time.perf_counter()
    with pytest.raises(InputError, match="write smaller row groups"):
        list(read_table(tmp_path / "in.parquet"))
    assert time.perf_counter() - started < 1  # fifty took a while


@pytest.mark.parametrize("column", [[["drama", "war"]], [{"user": "x"}], [["drama"], None]])
def test_texts_within_texts_are_read_across_row_groups(classifier, tmp_path, column):
    rows = [{"text": "great film", "more": column[n % len(column)]} for n in range(1500)]
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "in.parquet", row_group_size=1000)
    assert [row for block in read_table(tmp_path / "in.parquet") for row in block.rows] == rows
    assert len(read_frame(tmp_path / "in.parquet")) == 1500


def test_a_packed_array_unpacks_to_a_hundred_times_its_size_at_most(tmp_path):
    with gzip.open(tmp_path / "in.json.gz", "wt") as file:
        file.write('[{"text": "' + " " * 2**26 + '"}]')
    with pytest.raises(InputError, match="unpacks to over 100 times its size"):
        list(read_table(tmp_path / "in.json.gz"))
    (tmp_path / "in.json").write_text(json.dumps([dict.fromkeys(map(str, range(10_001)), 1)]))
    (block,) = read_table(tmp_path / "in.json")
    assert "it has 10,001 columns, of 10,000 at most" in block.problems[0]


def test_nanoseconds_within_lists_are_not_lost(classifier, tmp_path):
    times = pa.array([[1]], pa.list_(pa.time64("ns")))
    pq.write_table(pa.table({"text": ["great film"], "at": times}), tmp_path / "in.parquet")
    with pytest.raises(InputError, match="nanoseconds: they would be lost"):
        label_file(classifier, tmp_path / "in.parquet", tmp_path / "out.parquet")


def test_short_rows_of_a_wide_header_are_not_written_out(classifier, tmp_path):
    header = ",".join(["text", *(f"c{number}" for number in range(9999))])
    (tmp_path / "in.csv").write_text(f"{header}\n" + "great\n" * 500)
    with pytest.raises(InputError, match=r"fewer cells than the header's 10,000: is it right"):
        label_file(classifier, tmp_path / "in.csv", tmp_path / "out.csv")


def test_a_hundred_rows_without_a_label_are_named_the_others_counted(classifier, tmp_path, capsys):
    lines = ["text", "great film", *['""'] * 1500]
    (tmp_path / "in.csv").write_text("\n".join(lines) + "\n")
    assert label_file(classifier, tmp_path / "in.csv", tmp_path / "out.csv") == (1501, 1500)
    said = capsys.readouterr().err
    assert said.count("has no label") == 100
    assert said.count("further rows without a label are not named") == 1
