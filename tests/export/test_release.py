"""The model that comes with the repository."""

import json
import subprocess
import sys

from utils.export.card import model_card
from utils.manifest import check_manifest
from utils.paths import RELEASED, RESEARCH
from utils.results import Run

REVIEWS = {
    "A moving, clever film with a wonderful cast. I loved every minute of it.": "POSITIVE",
    "One of the best films of the year: funny, warm and beautifully shot.": "POSITIVE",
    "A dull, badly acted mess. I wanted my money back.": "NEGATIVE",
    "The worst film I have seen in years, boring from start to finish.": "NEGATIVE",
}
CODE = """
import json, sys
from transformers import pipeline
classify = pipeline("text-classification", sys.argv[1])
print(json.dumps([classify.model.dtype.itemsize, classify(sys.argv[2:], truncation=True)]))
"""


def test_a_pipeline_elsewhere_labels_plain_reviews_rightly(tmp_path):
    command = [sys.executable, "-I", "-c", CODE, RELEASED, *REVIEWS]
    out = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
    bytes_a_weight, answers = json.loads(out.stdout)
    assert [answer["label"] for answer in answers] == list(REVIEWS.values())
    assert bytes_a_weight == 4  # stored in fp16, computed in fp32


def test_it_is_whole_small_and_says_what_it_is():
    manifest = check_manifest(RELEASED)
    assert manifest["run"]["dataset"] == "IMDB"
    assert not list(RELEASED.glob("*.onnx"))
    assert sum(file.stat().st_size for file in RELEASED.iterdir()) <= 50e6


def test_its_card_is_what_the_committed_results_make(tmp_path):
    name = "distilled_3_teachers-imdb-minilm-seed42"
    trained, baseline = (
        json.loads((RESEARCH / file).read_text(encoding="utf-8"))
        for file in (f"{name}.json", "tfidf-imdb-minilm-seed42.json")
    )
    run, about = Run(tmp_path / name), {"model_sha256": trained["model_sha256"]}
    run.save("evaluation", {**about, "model": trained["test"], "baseline": baseline["test"]})
    run.save("agreement", about | {copy: trained[copy] for copy in ("pipeline", "fp16")})
    reviews = {"validation_reviews": trained["validation_reviews"]}
    run.save("calibration", about | trained["calibration"] | reviews)
    card = (RELEASED / "README.md").read_text(encoding="utf-8")
    assert card == model_card(run, trained, "artifacts/model", half=True)
