"""Services in processes of their own: ours as a user starts it, and a naive one to compare with."""

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx

from utils import InputError
from utils.paths import ROOT
from utils.service.middleware import KEY

START_SECONDS = 120
STOP_SECONDS = 60


def free_port(port: int = 0) -> int:
    """That port of this machine, or any where it is 0; InputError where another process has it."""
    with socket.socket() as free:
        free.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # of one that has just ended
        try:
            free.bind(("127.0.0.1", port))
        except OSError as error:
            raise InputError(f"Port {port} is in use: choose another.") from error
        return free.getsockname()[1]


class Service:
    """`scripts/flask-deployment.py` in a process of its own, once it is ready.

    Raises InputError with what it printed, where it does not start.
    """

    def __init__(self, folder: Path, log: Path, port: int = 0):
        self.log = log
        self._file = log.open("ab")
        self._before = log.stat().st_size  # bytes, of earlier services
        self.port = free_port(port)
        self.url = f"http://127.0.0.1:{self.port}"
        script = ROOT / "scripts" / "flask-deployment.py"
        command = [sys.executable, script, "--model", folder, "--port", str(self.port)]
        # Whoever starts it here asks without a key.
        variables = {name: value for name, value in os.environ.items() if name != KEY}
        self.process = subprocess.Popen(command, stderr=self._file, env=variables)
        end = time.monotonic() + START_SECONDS
        while time.monotonic() < end and self.process.poll() is None:
            if _answers(f"{self.url}/health/ready"):
                return
            time.sleep(0.1)
        self.process.kill()
        self.stop()
        printed = self.log.read_bytes()[self._before :].decode("utf-8", "replace")
        raise InputError(f"The service did not start: {printed}")

    def stop(self) -> int:
        """Send SIGTERM and return the exit status, 0 where nothing was lost."""
        self.process.terminate()
        try:
            return self.process.wait(STOP_SECONDS)
        finally:
            self.process.kill()
            self._file.close()


@contextmanager
def our_service(folder: Path, log: Path, port: int = 0) -> Iterator[Service]:
    """A running service of an exported folder, stopped in the end."""
    service = Service(folder, log, port)
    try:
        yield service
    finally:
        service.stop()


# What a tutorial's Flask route does: a request, a forward pass in fp32 padded to 512, an answer.
NAIVE = """
import logging, sys
import torch
from flask import Flask, request
from transformers import AutoModelForSequenceClassification, AutoTokenizer

folder, port = sys.argv[1:]
local = {"local_files_only": True, "trust_remote_code": False}
tokenizer = AutoTokenizer.from_pretrained(folder, **local)
model = AutoModelForSequenceClassification.from_pretrained(folder, dtype=torch.float32, **local)
model.eval()
app = Flask(__name__)
logging.getLogger("werkzeug").setLevel(logging.ERROR)

@app.post("/predict")
def predict():
    inputs = tokenizer(request.get_json()["inputs"], padding="max_length", truncation=True,
                       max_length=512, return_tensors="pt")
    with torch.no_grad():
        scores = model(**inputs).logits.softmax(-1)[0]
    label = int(scores.argmax())
    return [{"label": model.config.id2label[label], "score": float(scores[label])}]

@app.get("/")
def ready():
    return "ready"

app.run(port=int(port))
"""


@contextmanager
def naive_service(folder: Path) -> Iterator[str]:
    """The address of a naive route for the same model, on Flask's own server."""
    port = free_port()
    process = subprocess.Popen(
        [sys.executable, "-c", NAIVE, folder, str(port)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env=os.environ | {"HF_HUB_OFFLINE": "1"},
    )
    try:
        url = f"http://127.0.0.1:{port}"
        end = time.monotonic() + START_SECONDS
        while not _answers(url):
            if time.monotonic() > end or process.poll() is not None:
                raise InputError("The naive service did not start.")
            time.sleep(0.1)
        yield url
    finally:
        process.kill()
        process.wait(STOP_SECONDS)


def _answers(url: str) -> bool:
    """Whether it is ready; asked directly, whatever proxy the environment names."""
    try:
        return httpx.get(url, trust_env=False).status_code == 200
    except httpx.HTTPError:
        return False
