"""The routes: what is asked is checked, handed to the engine, and waited for until the deadline."""

import json
import threading
import time
import tomllib
from collections.abc import Iterator
from concurrent.futures import Future, wait
from contextlib import contextmanager
from dataclasses import asdict
from functools import partial
from pathlib import Path

from apiflask import APIFlask, HTTPError
from flask import Response, request
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from utils.evaluation.attribution import FEW_STEPS, explain_in_parts
from utils.files import each_once
from utils.labels import LABELS
from utils.paths import ROOT
from utils.service.batching import DeadlinePassed, Engine, Unavailable
from utils.service.fairness import FairLock, Shares
from utils.service.middleware import MAX_BODY, QuietFlask, guard, key_check
from utils.service.schemas import (
    MAX_CHARACTERS,
    MAX_ITEMS,
    ExplainIn,
    ExplainOut,
    HealthOut,
    InfoOut,
    PredictIn,
    PredictOut,
)
from utils.text import MAX_TOKENS, Tokens, is_empty, tokenize

PAGE = Path(__file__).parent / "static"
KINDS = {"html": "text/html", "css": "text/css", "js": "text/javascript", "svg": "image/svg+xml"}
DEADLINE_SECONDS = 10.0
MAX_REQUESTS = 56  # at work or waiting at once: fewer than the server's threads
MAX_EXPLANATIONS = 2  # of one client's at once


def create_app(
    engine: Engine,
    manifest: dict,
    deadline_seconds: float = DEADLINE_SECONDS,
    hosts: list[str] | None = None,
) -> APIFlask:
    """The service of one engine; `manifest` is that of its model's folder.

    `hosts` are the names by which it may be called, any where it is None.

    Where the environment variable REVIEWS_API_KEY is set, /predict, /explain, /info and /metrics
    ask for it as a bearer token.
    """
    app = QuietFlask(__name__, title="Movie review sentiment", version=_version(), docs_path=None,
                     static_folder=None)  # fmt: skip
    guard(app, engine, threading.BoundedSemaphore(MAX_REQUESTS), hosts)
    app.json.sort_keys = False
    app.json.loads = partial(json.loads, object_pairs_hook=each_once)
    classifier, metrics = engine.classifier, engine.metrics
    explanations = Shares(MAX_EXPLANATIONS)
    # Flask's own route leaves the open file to the server, until the client has read the answer.
    files = {path.name: path.read_bytes() for path in PAGE.iterdir() if path.suffix[1:] in KINDS}
    preparing = FairLock()
    protected = key_check(app)
    refusals = {400: "Not JSON", 413: f"A body over {MAX_BODY:,} bytes", 415: "Not sent as JSON",
                429: "Too many requests at once", 500: "Our mistake",
                503: "A full queue, or it starts, stops or is broken", 504: "Too late"}  # fmt: skip

    @contextmanager
    def an_explanation() -> Iterator[None]:
        """One of a client's at once: they take seconds, and others wait, too."""
        if not explanations.take(request.remote_addr):
            raise HTTPError(429, "Wait for your other explanations first.",
                            headers={"Retry-After": "1"})  # fmt: skip
        try:
            yield
        finally:
            explanations.give_back(request.remote_addr)

    @contextmanager
    def a_deadline() -> Iterator[float]:
        """The deadline of a request; turns refusals of its work into answers."""
        try:
            yield time.monotonic() + deadline_seconds
        except Unavailable as error:
            headers = {"Retry-After": str(error.retry_after)}
            raise HTTPError(503, str(error), headers=headers) from error
        except DeadlinePassed as error:
            raise HTTPError(504, f"No answer within {deadline_seconds:g} s.") from error

    def prepared(texts: dict[str, str], deadline: float) -> Tokens:
        """The tokens of texts, each named by its place in the request; 422 where one is empty.

        One request at a time, each client in its turn: a text may take a second of the processor
        and of Python's lock, and several at once would have even /health/live wait.
        """
        if not preparing.acquire(request.remote_addr, deadline):
            raise DeadlinePassed
        try:
            if _client_is_gone():
                raise HTTPError(408, "The client is gone.")
            empty = [place for place, text in texts.items() if is_empty(text)]
            if empty:
                reasons = {place: ["Value error, the text is empty"] for place in empty}
                raise HTTPError(422, "Validation error", detail={"json": reasons})
            return tokenize(classifier.tokenizer, list(texts.values()))
        finally:
            preparing.release()

    def a_file(name: str) -> Response:
        """A file of the page, from memory."""
        response = Response(files[name], mimetype=KINDS[name.rsplit(".", 1)[1]])
        response.cache_control.no_cache = True  # ask whether it changed
        response.add_etag()
        return response.make_conditional(request)

    @app.get("/")
    @app.doc(hide=True)
    def page():
        return a_file("index.html")

    @app.get("/static/<path:filename>")
    @app.doc(hide=True)
    def static(filename: str):
        if filename not in files:
            raise HTTPError(404)
        return a_file(filename)

    @app.post("/predict")
    @protected
    @app.input(PredictIn)
    @app.output(PredictOut)
    @app.doc(summary="Label reviews", responses=refusals)
    def predict(json_data: PredictIn):
        several = isinstance(json_data.inputs, list)
        if several:
            texts = {f"inputs.texts.{place}": text for place, text in enumerate(json_data.inputs)}
        else:
            texts = {"inputs.text": json_data.inputs}
        with a_deadline() as deadline:
            tokens = prepared(texts, deadline)
            rows = _results(engine.predict(tokens.ids, deadline, request.remote_addr), deadline)
        found = [
            [asdict(classifier.prediction(row, shortened))]
            for row, shortened in zip(rows, tokens.shortened, strict=True)
        ]
        return PredictOut(found if several else found[0])

    @app.post("/explain")
    @protected
    @app.input(ExplainIn)
    @app.output(ExplainOut)
    @app.doc(summary="Label a review and weigh its words", responses=refusals)
    def explain_one(json_data: ExplainIn):
        text = json_data.inputs
        with a_deadline() as deadline, an_explanation():
            prepared({"inputs": text}, deadline)  # for its checks
            future = engine.run(explain_in_parts(classifier, text, FEW_STEPS), deadline)
            prediction, words, error = _results([future], deadline)[0]
        return {
            **asdict(prediction),
            "words": [asdict(word) for word in words],
            "completeness_error": error,
        }

    @app.get("/health/live")
    @app.output(HealthOut)
    @app.doc(
        summary="Whether the process works; if not, restart it", responses={503: "It does not"}
    )
    def live():
        return _health("alive", engine.alive)

    @app.get("/health/ready")
    @app.output(HealthOut)
    @app.doc(summary="Whether to send requests now", responses={503: "Not yet, or not any more"})
    def ready():
        return _health("ready", engine.ready and engine.alive and not engine.closing)

    @app.get("/info")
    @protected
    @app.output(InfoOut)
    @app.doc(summary="The model and the limits")
    def info():
        run = manifest.get("run", {})  # a converted model has none
        return {
            "version": app.version,
            "model": run.get("backbone") or manifest.get("converted_from", {}).get("file"),
            "trained_on": run.get("dataset"),
            "labels": list(LABELS.values()),
            "model_sha256": manifest["sha256"]["model.safetensors"],
            "runtime": classifier.runtime.name,
            "runtime_because": classifier.why,
            "precision": classifier.runtime.precision,
            "limits": {
                "max_items": MAX_ITEMS,
                "max_characters": MAX_CHARACTERS,
                "max_body_bytes": MAX_BODY,
                "max_tokens": MAX_TOKENS,
                "deadline_seconds": deadline_seconds,
            },
        }

    @app.get("/metrics")
    @protected
    @app.doc(summary="Counters, for Prometheus", hide=True)
    def counters():
        return Response(generate_latest(metrics.registry), content_type=CONTENT_TYPE_LATEST)

    return app


def _results(futures: list[Future], deadline: float) -> list:
    """The futures' results; all are cancelled where they are late or their client is gone.

    Raises DeadlinePassed, or what the first of them raised.
    """
    pending = set(futures)
    try:
        while pending:
            left = deadline - time.monotonic()
            if left <= 0:
                raise DeadlinePassed
            if _client_is_gone():
                raise HTTPError(408, "The client is gone.")
            pending = wait(pending, min(left, 0.1)).not_done
        return [future.result() for future in futures]
    finally:
        for future in pending:
            future.cancel()


def _client_is_gone() -> bool:
    return request.environ.get("waitress.client_disconnected", lambda: False)()


def _health(word: str, good: bool):
    return ({"status": word}, 200) if good else ({"status": f"not {word}"}, 503)


def _version() -> str:
    with (ROOT / "pyproject.toml").open("rb") as file:
        return tomllib.load(file)["project"]["version"]
