"""Write the tables of README.md and docs/ anew, from the committed results.

Example: python scripts/update_docs.py
"""

import argparse
import json
import re
import tomllib

import pandas as pd

from utils.benchmark import scale
from utils.benchmark.models import RELEASE, TEACHER
from utils.benchmark.report import load_table, ours, table
from utils.evaluation.metrics import METRICS, hits
from utils.formatting import markdown_table, said
from utils.paths import BENCHMARK, RELEASED, ROOT
from utils.research.tables import (
    Results,
    experiments_table,
    gain,
    learning_curve_table,
    said_unlabelled,
    scored_table,
)

RUNS = ("imdb-minilm", "rotten-tomatoes-minilm")
EARLIER = ("pipeline, one by one", "ours, bf16", "OpenVINO, bf16", "OpenVINO, int8")
FILES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


def result(run: str, name: str) -> dict:
    return json.loads((ROOT / "artifacts" / run / "results" / f"{name}.json").read_text())


def benchmark(part: str) -> dict:
    return json.loads((BENCHMARK / f"{part}.json").read_text(encoding="utf-8"))


def headline(found: Results) -> str:
    """The released model in three numbers."""
    manifest = json.loads((RELEASED / "manifest.json").read_text(encoding="utf-8"))
    seed = manifest["run"]["recipe"]["seed"]
    (own,) = found.of("distilled_3_teachers", seed=seed)
    accuracy = own["test"]["metrics"]["accuracy"]["value"]
    megabytes = (RELEASED / "model.safetensors").stat().st_size / 1e6
    models = benchmark("models")
    speed = models["rows"][RELEASE]["reviews_per_second"]
    return (
        f"**{accuracy:.1%}** of IMDB's {own['test']['reviews']:,} test reviews labelled correctly"
        " · "
        f"**{megabytes:.0f} MB** in fp16, {manifest['openvino']['megabytes']:.0f} MB in int8 · "
        f"**{speed:.0f} reviews/s** on two CPU cores ({models['runtime']})"
    )


def findings(found: Results) -> str:
    """What was found, a line each."""
    rows = {row["name"]: row for row in found.rows()}
    speeds = benchmark("models")["rows"]
    student, teacher = (rows[name] for name in ("distilled_3_teachers", "teacher"))
    times = speeds[RELEASE]["reviews_per_second"] / speeds[TEACHER]["reviews_per_second"]
    more = gain(student["test"], rows["fine_tuned"]["test"])
    less = gain(teacher["test"], student["test"])
    counting = rows["linear_student"]["test"]["mean"]
    cascade = found.cascade()
    left = cascade["chosen"]["left_to_linear"]
    flips, alone = (one["minimal_pairs"]["flip"]["share"]
                    for one in (cascade, cascade["encoder_alone"]))  # fmt: skip
    unlabelled = found.pretrained()["reviews"]
    low, high = result("imdb-minilm", "failures")["small_tests"]["300"]["accuracy_range"]
    faster = ours(benchmark("training")["sizes"]["22M"])[1]["times_the_first"]
    return "\n".join((
        f"- **TAPT and distillation add {more:.1f} percentage points.** Three larger encoders with "
        f"the same labels teach the small one on {unlabelled:,} unlabelled reviews.",
        f"- **The larger encoder is {less:.1f} percentage points better and takes {times:.1f} "
        f"times as long.** It trains in {teacher['minutes']:.0f} minutes, its student, teachers "
        f"included, in {student['minutes']:.0f}.",
        "- **Accuracy is not reading.** TF-IDF distilled from the same three labels "
        f"{counting:.1%} correctly. In a cascade, it labels {left:.0%} of the reviews at the "
        f"released model's accuracy. But the cascade passes {flips:.0%} of the edits that should "
        f"flip a label, that model alone {alone:.0%}.",
        f"- **Small tests mislead.** With 300 test reviews the same model would score {low:.1%} to "
        f"{high:.1%}.",
        f"- **Training is {faster:.0f} times as fast** as the usual recipe, on two cores with "
        "bf16.",
    ))  # fmt: skip


def earlier_table() -> str:
    """Runtimes on a processor with AVX512-BF16 and VNNI, when ours was torch."""
    rows = [
        [name, f"{row['reviews_per_second']:.1f}", f"{row['times_the_first']:.1f}",
         f"{row['milliseconds']['p50']:.0f} ms", row["agreement"]["label_flips"]]
        for name, row in benchmark("inference-avx512")["rows"].items()
        if name in EARLIER
    ]  # fmt: skip
    head = "predicting", "reviews/s", "times", "one review: p50", "labels that differ"
    return markdown_table(head, rows)


def notebook_minutes() -> str:
    """What the long notebooks took."""
    trained, predicted = (result("imdb-minilm", name) for name in ("training", "predictions"))
    return (
        f"Notebook 03 trained for {trained['minutes']:.0f} minutes, and 04 predicted the test in "
        f"{predicted['minutes']:.0f}, on {trained['versions']['processor']}; each of the others "
        "takes less."
    )


def results_table() -> str:
    """One row a run and model: the four metrics with their intervals."""
    rows = []
    for run in RUNS:
        found = result(run, "evaluation")
        data = f"{found['dataset']}, {found['model']['reviews']:,}"
        for name, key in (("**fine-tuned**", "model"), ("TF-IDF baseline", "baseline")):
            cells = (said(found[key]["metrics"][metric]) for metric in METRICS)
            rows.append([data, name, *cells])
    head = "test reviews", "model", "accuracy", "precision", "recall", "F1"
    return markdown_table(head, rows)


def minutes_table() -> str:
    """One row a run: measured minutes, and on what."""
    rows = []
    for run in RUNS:
        trained, predicted = result(run, "training"), result(run, "predictions")
        reviews = result(run, "evaluation")["model"]["reviews"]
        times = (
            f"{trained['minutes']:.0f} min",
            f"{predicted['minutes']:.1f} min ({reviews:,} reviews)",
        )
        made_on = trained["versions"]["precision"], trained["versions"]["processor"]
        rows.append([trained["dataset"], *times, *made_on])
    return markdown_table(
        ("run", "training", "predicting the test", "precision", "processor"), rows
    )


def copies_table() -> str:
    """What other ways of running each run's model lose on validation."""
    rows = []
    for run in RUNS:
        found, onnx = result(run, "agreement"), result(run, "onnx")
        size, name = onnx["megabytes"], result(run, "training")["dataset"]
        full = size["model.safetensors"]
        reviews, ours = found["pipeline"]["reviews"], found["pipeline"]["our_accuracy"]
        rows.append([name, "our inference, fp32", f"{ours:.1%}", "", f"{full:.0f} MB"])
        bf16 = [("our inference, bf16", found["bf16"], full)] if "bf16" in found else []
        for title, copy, megabytes in (
            *bf16,
            ("a plain pipeline, fp32", found["pipeline"], full),
            ("stored in fp16, as for a release", found["fp16"], full / 2),
            ("ONNX, int8", onnx["int8"], size["model_int8.onnx"]),
        ):
            flips = f"{copy['label_flips']} of {reviews}"
            rows.append([name, title, f"{copy['accuracy']:.1%}", flips, f"{megabytes:.0f} MB"])
    head = "run", "way of running the model", "accuracy", "labels that differ", "size"
    return markdown_table(head, rows)


def evaluation_table() -> str:
    """What the evaluation beyond the four metrics found, a column for each run."""

    def of(run: str) -> dict[str, str]:
        calibration, failures = result(run, "calibration"), result(run, "failures")
        gain, small = result(run, "evaluation")["mcnemar"], failures["small_tests"]["300"]
        off = {kind: said(error) for kind, error in calibration["calibration_error"].items()}
        by_kind = result(run, "minimal_pairs")["by_kind"]
        labels = result(run, "labels")
        known = labels["out_of_fold_accuracy"]
        contradicted = known["reviews"] - hits(known)
        ceiling = labels.get("test_judged_by_people", {}).get("right_if_those_are_wrong")
        (other,) = (ROOT / "artifacts" / run / "results").glob("on_*.json")
        elsewhere = json.loads(other.read_text())
        accuracy = {name: said(found["metrics"]["accuracy"])
                    for name, found in elsewhere["models"].items()}  # fmt: skip
        low, high = small["accuracy_range"]
        rows = {
            "gain over TF-IDF, percentage points": "{:.1f} [{:.1f}, {:.1f}]".format(
                *(100 * value for value in (gain["gain"], *gain["gain_interval"]))
            ),
            "a test of 300 reviews would show an accuracy of": f"{low:.1%} to {high:.1%}",
            "and find the difference significant at 5%": f"{small['found']:.0%} of the time",
            "expected calibration error (ECE), as trained": off["before"],
            "ECE with the exported temperature": off["after"],
            "selective prediction: reviews left to people, for 95% on the others": left(run),
        }
        for part, what in (("flip", "should flip"), ("keep", "should not flip")):
            for model, found in by_kind.items():
                name = f"minimal pairs passed that {what} the label, {model}"
                rows[name] = f"{said(found[part])}, {found[part]['reviews']}"
                if part == "flip":
                    right = found[part]["of_first_right"]
                    name = f"the same where the first text was right, {model}"
                    rows[name] = f"{said(right)}, {right['reviews']}"
        rows |= {
            "suspected label errors (cleanlab), and labels contradicted in cross-validation":
                f"{labels['doubted']:,} and {contradicted:,} of {known['reviews']:,}",
            "accuracy of a perfect reader, if labels that people did not confirm are wrong":
                f"{ceiling:.1%}" if ceiling else "not judged",
            "domain transfer: accuracy on the other column's test": accuracy["fine-tuned"],
            "the same by TF-IDF": accuracy["TF-IDF"],
        }  # fmt: skip
        return rows

    columns = {result(run, "training")["dataset"]: of(run) for run in RUNS}
    names = next(iter(columns.values()))
    rows = ([name, *(found[name] for found in columns.values())] for name in names)
    return markdown_table(["", *columns], rows)


def left(run: str) -> str:
    """What selective prediction leaves to people, and the accuracy on the other reviews."""
    path = ROOT / "artifacts" / run / "results" / "selective.json"
    found = json.loads(path.read_text(encoding="utf-8"))["test"] if path.exists() else None
    return f"{1 - found['coverage']:.0%}, with {said(found)}" if found else "not measured"


def colab() -> str:
    """A badge for each notebook, once the project has an address; a sentence until then."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    address = project.get("urls", {}).get("Repository", "")
    if "github.com/" not in address:
        return (
            "- **Colab:** upload a notebook and run it. Its first cell asks for this repository as "
            "a zip, and\n  keeps Colab's own torch. (Tested in a stand-in for Colab.)"
        )
    place = f"https://colab.research.google.com/github/{address.split('github.com/')[1]}/blob/main"
    badge = "https://colab.research.google.com/assets/colab-badge.svg"
    return "- **Colab:** " + " ".join(
        f"[![{path.stem}]({badge})]({place}/notebooks/{path.name})"
        for path in sorted((ROOT / "notebooks").glob("*.ipynb"))
    )


def of_frame(frame: pd.DataFrame) -> str:
    """A table of notebook 07."""
    return markdown_table(frame, frame.itertuples(index=False))


def marked_tables() -> dict[str, str]:
    """Each table by the name that its place is marked with."""
    found = Results()
    rows = found.rows()
    return {
        "results": results_table(),
        "scored": of_frame(scored_table(rows)),
        "headline": headline(found),
        "findings": findings(found),
        "notebooks": notebook_minutes(),
        "experiments": of_frame(experiments_table(rows).iloc[:, :4]),
        "agreement": of_frame(found.agreement()),
        "cascade": of_frame(found.cascade_table()),
        "unlabelled": said_unlabelled(found.pretrained()),
        "curve": of_frame(learning_curve_table(found.learning_curve())),
        "minutes": minutes_table(),
        "colab": colab(),
        "copies": copies_table(),
        "evaluation": evaluation_table(),
        "scale": scale.table(json.loads((BENCHMARK / "scale.json").read_text())),
        **{
            part: table(part, BENCHMARK / f"{part}.json")
            for part in ("training", "inference", "models", "growth", "tried")
        },
        "earlier": earlier_table(),
        "service": load_table(json.loads((BENCHMARK / "service.json").read_text())),
    }


def with_tables(texts: dict) -> dict:
    """The files' texts, each marked table made anew from the committed results."""
    for name, lines in marked_tables().items():
        marked = re.compile(rf"(<!-- {name} -->\n).*?(<!-- /{name} -->)", re.DOTALL)
        places = 0
        for path, text in texts.items():
            new = marked.subn(lambda m, lines=lines: f"{m[1]}{lines}\n{m[2]}", text)
            texts[path], places = new[0], places + new[1]
        assert places == 1, f"{name} has {places} places"
    return texts


def main() -> None:
    argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    ).parse_args()
    texts = {path: path.read_text(encoding="utf-8") for path in FILES}
    for path, text in with_tables(texts).items():
        path.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
