"""Export the trained model of a run: a folder in transformers' own layout, and its zip.

Examples:
  python scripts/model-export.py --run imdb-minilm --output my-model
  SOURCE=path/to/imdb python scripts/model-export.py --onnx --openvino
  SOURCE=path/to/imdb python scripts/model-export.py --openvino --model artifacts/model
"""

import argparse
import os
import sys
from pathlib import Path

from utils import InputError
from utils.paths import resolve_path
from utils.settings import Settings, set_up


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--run", help="a folder of artifacts/; default: the settings' run")
    parser.add_argument("--output", type=Path, help="default: artifacts/RUN/model")
    parser.add_argument(
        "--onnx", action="store_true", help="also OUTPUT-onnx/, in fp32 and int8, checked"
    )
    parser.add_argument(
        "--openvino", action="store_true", help="also OUTPUT/openvino/, in int8, checked: the "
        "fastest on a CPU"
    )  # fmt: skip
    parser.add_argument(
        "--model", type=Path, help="with --openvino: add it to this exported folder, and no more"
    )
    parser.add_argument(
        "--release", action="store_true", help="into artifacts/model instead, in fp16, no zip"
    )
    arguments = parser.parse_args()
    if arguments.release and (arguments.output or arguments.onnx):
        parser.error("--release writes artifacts/model alone: leave out --output and --onnx")
    given = (arguments.run, arguments.output, arguments.onnx, arguments.release)
    if arguments.model and (any(given) or not arguments.openvino):
        parser.error("--model goes with --openvino alone")
    try:
        folder = export(arguments)
    except InputError as error:
        sys.exit(f"error: {error}")
    shown = os.path.relpath(folder)
    print(f"Exported to {shown}/. Use it:")
    print(f'  python scripts/model-inference.py --model {shown} "A moving, clever film."')


def export(arguments: argparse.Namespace) -> Path:
    """Do what the arguments ask for and return the exported folder."""
    # Imported here, so that --help and a wrong argument answer at once.
    from transformers.utils.logging import disable_progress_bar

    from utils.data.reviews import load_reviews
    from utils.export import parity
    from utils.export.folder import export_model, release_model
    from utils.results import Run
    from utils.training.fine_tune import load_trained

    disable_progress_bar()
    if arguments.model:
        add(arguments.model, load_reviews(set_up()))
        return arguments.model
    reviews = None
    if arguments.run and not (arguments.onnx or arguments.openvino):
        run = Run(resolve_path(Settings.read().artifacts) / arguments.run)
        classifier, trained = load_trained(run)
    else:
        settings = set_up()
        reviews = load_reviews(settings)
        run = Run.of(settings, reviews.name)
        if arguments.run not in (None, run.name):
            raise InputError(
                "--onnx and --openvino measure on validation, and these settings give "
                f"{run.name}: set SOURCE and BACKBONE as for {arguments.run}."
            )
        classifier, trained = load_trained(
            run, training_sha256=reviews.training_sha256, seed=settings.seed
        )
        parity.measure(run, classifier, trained, reviews.validation)
    if arguments.release:
        folder = release_model(run, classifier, trained)
        if arguments.openvino:
            add(folder, reviews)
        return folder
    folder = export_model(
        run, classifier, trained, arguments.output or run.folder / "model",
        (lambda folder: add(folder, reviews)) if arguments.openvino else None,
    )  # fmt: skip
    if arguments.onnx:
        from utils.export.onnx import export_onnx

        found = export_onnx(run, classifier, trained, reviews.validation, folder)["int8"]
        print(f"ONNX files, fp32 and int8, are in {folder.name}-onnx/.")
        say(found)
    return folder


def add(folder: Path, reviews) -> None:
    """Add openvino/ to an exported folder, and say what it loses."""
    from utils.export.openvino import add_openvino

    found = add_openvino(folder, reviews)
    print(f"OpenVINO's model, {found['megabytes']} MB in int8, is in {folder.name}/openvino/.")
    say(found)


def say(found: dict) -> None:
    """Print what a copy in int8 loses on validation."""
    print(
        f"With int8 {found['label_flips']} of {found['reviews']} validation labels differ; "
        f"accuracy {found['accuracy']:.1%} instead of {found['our_accuracy']:.1%}."
    )


if __name__ == "__main__":
    main()
