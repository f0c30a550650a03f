"""Compare ways of training and of predicting, side by side, on reviews of IMDB's lengths.

Example: SOURCE=path/to/imdb python scripts/bench.py
"""

import argparse
import os
import sys
import tempfile
from dataclasses import replace
from functools import partial
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
os.environ["ACCELERATE_USE_CPU"] = "true"  # runtimes are compared on the processor

import numpy as np
import psutil

from utils import InputError
from utils.agreement import agreement
from utils.benchmark import inference as predicting
from utils.benchmark import measure
from utils.benchmark.figures import growth_figure, inference_figure, training_figure
from utils.benchmark.report import table
from utils.data import Reviews, load_reviews
from utils.export import RELEASED
from utils.hardware import precision, versions
from utils.manifest import check_manifest
from utils.packaged import require_packages
from utils.results import write, write_json
from utils.settings import set_up

ROUNDS = {"training": 3, "inference": 3, "growth": 3, "tried": 1}  # compiling takes minutes
TRAINED_ON = {"22M": 48, "66M": 24}  # reviews of a round: three batches
PREDICTED = 48
SINGLE = 16
LENGTHS = (64, 128, 256, 512)
COUNTS = (250, 1000)  # reviews of IMDB's lengths


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--part",
        choices=list(ROUNDS),
        nargs="*",
        default=list(ROUNDS)[:3],
        help="default: the first three",
    )
    parts = parser.parse_args().part
    try:
        time_parts(parts)
    except InputError as error:
        sys.exit(f"error: {error}")


def time_parts(parts: list[str]) -> None:
    """Time these parts, and save and print each as it is finished."""
    reviews = None
    if "inference" in parts:
        require_packages("requirements-bench.txt", "nncf", "openvino")
        reviews = load_reviews(set_up(backbone="minilm"))  # named, for none is asked for
    if set(parts) != {"training"}:
        check_manifest(RELEASED)  # before anything is timed
    about = {"versions": versions(), "why": precision()[1]}
    about["busy_before"] = psutil.cpu_percent(3)
    if about["busy_before"] > 10:
        print(f"The processor is {about['busy_before']:.0f}% busy: these timings will be wrong.")
    about["peak_gflops"] = measure.peak_gflops()
    print(", ".join(f"{k}: {v:,.0f} GFLOP/s at most" for k, v in about["peak_gflops"].items()))
    if "training" in parts:
        sizes = {size: training(size, about["peak_gflops"]) for size in TRAINED_ON}
        save("training", {**about, "sizes": sizes}, training_figure)
    if "inference" in parts:
        save("inference", {**about, **inference(reviews, about["peak_gflops"])}, inference_figure)
    if "growth" in parts:
        save("growth", {**about, **growth()}, growth_figure)
    if "tried" in parts:
        save("tried", {**about, **tried()})
    for part in parts:
        print(table(part, measure.FOLDER / f"{part}.json"))


def save(part: str, result: dict, figure=None) -> None:
    """Write the part's JSON and, where there is one, its figure."""
    write_json(measure.FOLDER / f"{part}.json", {**result, "rounds": ROUNDS[part]})
    if figure:
        drawn = figure(result)
        write(measure.FOLDER / f"{part}.png", lambda path: drawn.savefig(path, format="png"))


def training(size: str, peak: dict[str, float]) -> dict:
    """Reviews a second of each way of training, its ratio to the usual, its share of the peak."""
    lengths = measure.review_lengths(TRAINED_ON[size])
    ways = measure.trainings()
    rounds = measure.compare(
        {name: partial(measure.train, size, way, lengths) for name, way in ways.items()},
        ROUNDS["training"],
    )
    # A backward pass multiplies twice as much as the forward pass.
    gflop = 3 * measure.forward_gflop(size, lengths)
    rows = {}
    for name, way in ways.items():
        seconds = float(np.median([found["seconds"] for found in rounds[name]]))
        rows[name] = {
            "seconds": [found["seconds"] for found in rounds[name]],
            "reviews_per_second": len(lengths) / seconds,
            "share_of_peak": gflop / seconds / peak["bf16" if way.bf16 else "fp32"],
            "peak_gib": max(found["gib"] for found in rounds[name]),
            "ours": name == list(ways)[-1],
        }
    return {"reviews": len(lengths), "gflop": gflop, "rows": with_ratios(rows)}


def inference(reviews: Reviews, peak: dict[str, float]) -> dict:
    """Each runtime's speed at its best batch size, latency, memory, size and agreement."""
    lengths = measure.review_lengths(PREDICTED)
    texts = predicting.random_texts(lengths)
    single = predicting.random_texts(measure.review_lengths(SINGLE))
    validation = reviews.validation["text"].tolist()
    labels = reviews.validation["label"].to_numpy()
    gflop = measure.forward_gflop("22M", lengths)
    with tempfile.TemporaryDirectory() as folder:
        copies = Path(folder)
        predicting.write_copies(copies, reviews.train["text"].tolist()[:100])
        rounds = measure.compare(
            {one.name: partial(predicting.time_runtime, one.name, copies, texts, single)
             for one in predicting.runtimes()}, ROUNDS["inference"]
        )  # fmt: skip
        answers = {
            one.name: measure.in_fresh_process(
                partial(predicting.probabilities, one.name, copies, validation)
            )["probabilities"]
            for one in predicting.runtimes()
        }
        exact = np.array(predicting.exact_probabilities(validation))
        rows = {}
        for one in predicting.runtimes():
            name, weights = one.name, copies / one.file
            medians = {
                budget: float(np.median([found["seconds"][budget] for found in rounds[name]]))
                for budget in rounds[name][0]["seconds"]
            }
            best = min(medians, key=medians.get)
            alone = np.concatenate([found["milliseconds"] for found in rounds[name]])
            rows[name] = {
                "seconds": [found["seconds"] for found in rounds[name]],
                "ours": one.ours,
                "precision": one.precision,
                "batch_tokens": best if one.batched or one.ours else None,
                "reviews_per_second": PREDICTED / medians[best],
                "share_of_peak": None
                if one.precision == "int8"
                else gflop / medians[best] / peak[one.precision],
                "milliseconds": {"p50": np.percentile(alone, 50), "p95": np.percentile(alone, 95)},
                "peak_gib": max(found["gib"] for found in rounds[name]),
                "megabytes": round(
                    (weights if weights.exists() else RELEASED / one.file).stat().st_size / 1e6
                ),
                "agreement": agreement(labels, exact, np.array(answers[name])),
            }
    return {
        "reviews": PREDICTED,
        "gflop": gflop,
        "agreement_on": f"{reviews.title}, {len(validation)} validation reviews",
        "is_imdb": reviews.name == "imdb",
        "rows": with_ratios(rows),
    }


def growth() -> dict:
    """Seconds of one epoch and of predicting: a review by its length, and by how many there are."""
    way = list(measure.trainings().values())[-1]
    ours = predicting.ours().name
    few = 2 * measure.BATCH["22M"]
    lengths = {f"of {length}": [length] * few for length in LENGTHS}
    lengths |= {f"IMDB {count}": measure.review_lengths(count) for count in COUNTS}
    cases = {}
    for name, these in lengths.items():
        cases["training", name] = partial(measure.train, "22M", way, these)
        texts = predicting.random_texts(these)
        cases["predicting", name] = partial(
            predicting.time_runtime, ours, RELEASED, texts, texts[:4]
        )
    rounds = measure.compare(cases, ROUNDS["growth"])
    seconds = {
        case: float(np.median([_best(f["seconds"]) for f in found]))
        for case, found in rounds.items()
    }
    gflop = measure.forward_gflop("22M", lengths[f"IMDB {COUNTS[-1]}"]) / COUNTS[-1]
    parts = {"training": 3 * gflop, "predicting": gflop}
    return {
        "seconds_a_review": {
            part: {str(length): seconds[part, f"of {length}"] / few for length in LENGTHS}
            for part in parts
        },
        "seconds_of_imdb": {
            part: {str(count): seconds[part, f"IMDB {count}"] for count in COUNTS} for part in parts
        },
        "gflop_of_imdb_lengths": parts,
    }


def _best(seconds: float | dict[int, float]) -> float:
    return min(seconds.values()) if isinstance(seconds, dict) else seconds


def tried() -> dict:
    """torch.compile, which is not taken, with what compiling costs; and where the time goes."""
    ours = predicting.ours().name
    way = list(measure.trainings().values())[-1]
    lengths = measure.review_lengths(2 * measure.BATCH["22M"])
    texts = predicting.random_texts(lengths)
    cases = {
        "training": partial(measure.train, "22M", way, lengths),
        "training, compiled": partial(measure.train, "22M", replace(way, compile=True), lengths),
        "predicting": partial(predicting.time_runtime, ours, RELEASED, texts, texts[:8]),
        "predicting, compiled": partial(
            predicting.time_runtime, "ours, compiled", RELEASED, texts, texts[:8]
        ),
    }
    rows = {}
    for name, found in measure.compare(cases, ROUNDS["tried"]).items():
        seconds = float(np.median([_best(f["seconds"]) for f in found]))
        rows[name] = {
            "reviews_per_second": len(lengths) / seconds,
            "warm_up_seconds": float(np.median([f["warm_up"] for f in found])),
        }
    profiles = {
        name: measure.in_fresh_process(partial(measure.profiled, cases[name]))["shares"]
        for name in ("training", "predicting")
    }
    return {"reviews": len(lengths), "rows": rows, "profiles": profiles}


def with_ratios(rows: dict[str, dict]) -> dict[str, dict]:
    """The rows, each with its speed as a multiple of the first one's."""
    usual = next(iter(rows.values()))["reviews_per_second"]
    return {
        name: {**row, "times_the_first": row["reviews_per_second"] / usual}
        for name, row in rows.items()
    }


if __name__ == "__main__":
    main()
