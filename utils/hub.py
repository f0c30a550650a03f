"""Whether the Hugging Face Hub gives what is asked of it, and if not, why."""

import threading
from dataclasses import dataclass
from errno import ENOSPC
from queue import Empty, SimpleQueue
from typing import Literal

from huggingface_hub import (
    constants,
    get_hf_file_metadata,
    hf_hub_url,
    snapshot_download,
    try_to_load_from_cache,
)

from utils import InputError

HUB_DATASET = "stanfordnlp/imdb"
HUB_BACKBONE = "distilbert-base-uncased"
# What is taken from them: the type of repository, the file asked for first, and all files.
HUB_FILES = {
    HUB_DATASET: (
        "dataset",
        "plain_text/train-00000-of-00001.parquet",
        ["README.md", "plain_text/*"],
    ),
    HUB_BACKBONE: (
        "model",
        "model.safetensors",
        ["config.json", "model.safetensors", "tokenizer*", "vocab.txt"],
    ),
}
# The commits that are taken, so that reviews and weights stay the same whatever the Hub gets.
HUB_REVISIONS: dict[str, str] = {
    HUB_DATASET: "e6281661ce1c48d982bc483cf8a173c1bbeb5d31",
    HUB_BACKBONE: "12040accade4e8a0f71eabdb258fecc2e7e948be",
    "sentence-transformers/all-MiniLM-L6-v2": "c9745ed1d9f207416be6d2e6f8de32d1f16199bf",
    "sentence-transformers/all-mpnet-base-v2": "e8c3b32edf5434bc2275fc9bab85f82640a19130",
}
HUB_PATIENCE = 4.0  # seconds; without internet a name look-up can hang for much longer


@dataclass(frozen=True)
class HubProblem:
    """Why the Hub did not give a repository, in a few words; `str` gives these."""

    kind: Literal["offline", "unreachable", "rejected", "disk full"]
    text: str

    def __str__(self) -> str:
        return self.text


def hub_problem(repository: str) -> HubProblem | None:
    """Why the Hub cannot give this repository now; None once it is in its cache.

    The first question is not repeated and has 4 seconds; only then are the files downloaded.
    """
    if constants.HF_HUB_OFFLINE:
        return HubProblem("offline", "HF_HUB_OFFLINE is set")
    repo_type, first, files = HUB_FILES[repository]
    revision = HUB_REVISIONS[repository]
    answers: SimpleQueue[HubProblem | None] = SimpleQueue()

    def ask():
        try:
            url = hf_hub_url(repository, first, repo_type=repo_type, revision=revision)
            get_hf_file_metadata(url, timeout=HUB_PATIENCE - 1)
            answers.put(None)
        except Exception as error:  # whatever it is, it only decides and is reported
            answers.put(_reason(error))

    # A daemon thread, since a hanging name look-up cannot be given a time limit.
    threading.Thread(target=ask, daemon=True).start()
    try:
        problem = answers.get(timeout=HUB_PATIENCE)  # read once: a later answer counts for nothing
    except Empty:
        return HubProblem("unreachable", "no answer within 4 seconds")
    if problem is None:
        try:
            snapshot_download(
                repository, repo_type=repo_type, revision=revision, allow_patterns=files
            )
        except Exception as error:
            return _reason(error)
    return problem


def _reason(error: Exception) -> HubProblem:
    if getattr(error, "errno", None) == ENOSPC:
        return HubProblem("disk full", "the disk is full")
    if status := getattr(getattr(error, "response", None), "status_code", None):
        return HubProblem("rejected", f"HTTP {status}")
    return HubProblem("unreachable", f"no connection: {type(error).__name__}")


def require_hub(repository: str, otherwise: str) -> None:
    """See that a repository is in the Hub's cache, or raise an InputError that says why not.

    Left to themselves the libraries retry for 23 seconds or more, and hide the status.
    """
    repo_type, first, _ = HUB_FILES[repository]
    revision = HUB_REVISIONS[repository]
    cached = try_to_load_from_cache(repository, first, repo_type=repo_type, revision=revision)
    if isinstance(cached, str):
        return
    if problem := hub_problem(repository):
        raise InputError(
            f"The Hub did not give {repository} ({problem}). Try again later, or use {otherwise}."
        )
