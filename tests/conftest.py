"""What the tests share: a tiny random BERT, a few hundred made-up reviews, and no Hub."""

import os

os.environ["HF_HUB_OFFLINE"] = "1"  # before any library reads it
SETTINGS = ("SOURCE", "BACKBONE", "LABELS", "SEED", "TEST_SIZE", "ARTIFACTS", "REVIEWS_API_KEY",
            "SEPARATOR", "TEXT_COLUMN", "LABEL_COLUMN", "POSITIVE")  # fmt: skip
for name in list(os.environ):
    if name in SETTINGS or "proxy" in name.lower():
        del os.environ[name]

import io
import random
import runpy
import subprocess
import sys
import traceback
from contextlib import redirect_stderr, redirect_stdout
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType
from unittest import mock

import pandas as pd
import pytest
import torch
from transformers import BertConfig, BertModel, BertTokenizer

ROOT = Path(__file__).resolve().parent.parent

GOOD = ["great", "fine", "lovely", "moving", "clever", "superb", "warm", "bright"]
BAD = ["dull", "awful", "weak", "boring", "clumsy", "poor", "cold", "dreary"]
PLAIN = [
    *("the", "a", "film", "plot", "actor", "scene", "was", "and"),
    *("with", "story", "it", "this", "music", "end"),
]


# What a training leaves behind, as the export needs it.
TINY = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4,
        "intermediate_size": 64}  # fmt: skip
TRAINED = {
    "dataset": "made-up",
    "backbone": "tiny",
    "fingerprint": "0" * 16,
    "recipe": {"learning_rate": 1e-4, "seed": 1, "epochs": 3, "batch_size": 16, "warmup": 0.1,
               "weight_decay": 0.01, "max_tokens": 512},
    "reviews_sha256": "1" * 64,
    "training_sha256": "2" * 64,
    "model_sha256": "3" * 64,
    "train_reviews": 90,
    "validation_reviews": 10,
    "versions": {"torch": "2", "transformers": "5", "precision": "fp32", "processor": "a CPU"},
}  # fmt: skip


def make_reviews(rows: int, seed: int = 0) -> pd.DataFrame:
    """Made-up reviews, sorted by label as IMDB is; words tell the class, so they can be learnt."""
    draw = random.Random(seed)
    frames = []
    for label, words in enumerate((BAD, GOOD)):
        for _ in range(rows // 2):
            text = draw.choices(PLAIN, k=draw.randint(4, 30)) + draw.choices(words, k=4)
            draw.shuffle(text)
            frames.append({"text": " ".join(text) + ".", "label": label})
    return pd.DataFrame(frames)


@pytest.fixture(scope="session")
def tiny_bert(tmp_path_factory) -> Path:
    """A BERT checkpoint folder like the embedded one's: random, 2 layers of 32 dimensions."""
    folder = tmp_path_factory.mktemp("backbone") / "tiny"
    folder.mkdir()
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", ".", "!", *GOOD, *BAD, *PLAIN]
    (folder / "vocab.txt").write_text("\n".join(words) + "\n")
    tokenizer = BertTokenizer(vocab=str(folder / "vocab.txt"), model_max_length=512)
    tokenizer.save_pretrained(folder)
    torch.manual_seed(0)
    config = BertConfig(vocab_size=len(words), **TINY)
    BertModel(config).save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def reviews_folder(tmp_path_factory) -> Path:
    """A folder with train.parquet and test.parquet of made-up reviews."""
    folder = tmp_path_factory.mktemp("source") / "made-up"
    folder.mkdir()
    make_reviews(400).to_parquet(folder / "train.parquet")
    make_reviews(200, seed=1).to_parquet(folder / "test.parquet")
    return folder


@pytest.fixture(scope="session")
def backbone(tiny_bert):
    """That checkpoint, converted."""
    from utils.modeling.backbones import load_backbone

    return load_backbone(str(tiny_bert))


def stored_frames():
    """Training and test rows, sorted by label, with HTML line breaks and ratings."""
    for rows, seed in ((200, 0), (100, 1)):
        frame = make_reviews(rows, seed)
        frame["text"] = frame["text"].str.replace(" ", "<br /><br />", n=1)
        frame["rating"] = frame["label"] * 6 + 1 + frame.index % 4  # 1 to 4, 7 to 10
        yield frame


def as_acl(folder, train, test):
    for split, frame in (("train", train), ("test", test)):
        for number, row in enumerate(frame.itertuples()):
            path = folder / split / ("neg", "pos")[row.label] / f"{number}_{row.rating}.txt"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(row.text, encoding="utf-8")
    return folder


@pytest.fixture(scope="session")
def reviews(reviews_folder):
    """A budget of 200 of the made-up reviews."""
    from utils.data.reviews import load_reviews
    from utils.settings import Settings

    return load_reviews(Settings(source=str(reviews_folder), labels=200))


def run_script(
    name: str, *arguments, stdin: str = "", cwd: Path | None = None, **settings
) -> subprocess.CompletedProcess:
    """Run one of scripts/ with the settings as its environment, in upper case.

    It runs in this process, since importing torch and transformers takes seconds.
    """
    given = [os.fsdecode(value) if isinstance(value, bytes) else str(value) for value in arguments]
    streams = [io.TextIOWrapper(io.BytesIO(), encoding="utf-8", write_through=True)
               for _ in range(2)]  # fmt: skip
    code = 0
    with (
        pytest.MonkeyPatch.context() as patch,
        mock.patch.dict(os.environ, {key.upper(): str(value) for key, value in settings.items()}),
        redirect_stdout(streams[0]), redirect_stderr(streams[1]),
    ):  # fmt: skip
        patch.setattr(sys, "argv", [name, *given])
        patch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin.encode()), encoding="utf-8"))
        patch.chdir(cwd or Path.cwd())
        try:
            runpy.run_path(str(ROOT / "scripts" / name), run_name="__main__")
        except SystemExit as end:
            code = end.code if isinstance(end.code, int) else int(end.code is not None)
            if isinstance(end.code, str):
                print(end.code, file=sys.stderr)
        except BaseException:
            code = 1
            traceback.print_exc()
    out, err = (stream.buffer.getvalue().decode() for stream in streams)
    return subprocess.CompletedProcess([name, *given], code, out, err)


def load_script(name: str) -> ModuleType:
    """One of scripts/ as a module, for what it does before anything is slow."""
    spec = spec_from_file_location(Path(name).stem, ROOT / "scripts" / name)
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def trainer_in(run, backbone, reviews, recipe):
    """The Trainer of a recipe, with a new model."""
    from utils.modeling.backbones import build_model
    from utils.training.trainer import make_trainer

    return make_trainer(run, build_model(backbone, recipe.seed), backbone, reviews, recipe)


def interrupt_halfway(trainer):
    """Have the training stopped two steps after its half, as by Ctrl+C."""

    def stop(args, state, control, **kwargs):
        if state.global_step == state.max_steps // 2 + 2:
            raise KeyboardInterrupt

    trainer.callback_handler.callbacks[-1].on_step_end = stop


@pytest.fixture(scope="session")
def exported(tiny_bert, tmp_path_factory) -> Path:
    """The exported folder of a model on the tiny backbone; not to be changed."""
    from utils.export.folder import export_model
    from utils.inference.classifier import Classifier
    from utils.modeling.backbones import build_model, load_backbone
    from utils.results import Run

    backbone = load_backbone(str(tiny_bert))
    classifier = Classifier(build_model(backbone, seed=0), backbone.tokenizer)
    run = Run(tmp_path_factory.mktemp("exported") / "made-up-tiny")
    return export_model(run, classifier, TRAINED, run.folder / "model")


@pytest.fixture
def on_cpu(monkeypatch):
    """The processor computes, whatever accelerator there is."""
    monkeypatch.setenv("ACCELERATE_USE_CPU", "true")
