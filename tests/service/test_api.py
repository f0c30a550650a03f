"""The service: what it answers, what it refuses, and how its engine treats the work."""

import hmac
import json
import logging
import re
import threading
import time
from concurrent.futures import CancelledError, ThreadPoolExecutor, wait
from functools import partial
from http.server import HTTPServer, SimpleHTTPRequestHandler

import numpy as np
import pytest
from prometheus_client import CONTENT_TYPE_LATEST

from utils import InputError
from utils.benchmark.load import Answers, engine_alone
from utils.evaluation.attribution import FEW_STEPS, explain
from utils.inference.classifier import Classifier
from utils.manifest import check_manifest
from utils.service import api, launcher, middleware
from utils.service.api import create_app
from utils.service.batching import MOST_LONG_JOBS, DeadlinePassed, Engine, Unavailable
from utils.service.metrics import Metrics
from utils.service.middleware import KEY, MAX_BODY
from utils.service.schemas import MAX_CHARACTERS, MAX_ITEMS

TEXTS = ["great film.", "the dull story " * 300, "a poor, weak plot!"]


@pytest.fixture(scope="module")
def classifier(exported):
    return Classifier.from_folder(exported)


@pytest.fixture
def engine(classifier):
    engine = Engine(classifier, Metrics())
    engine.start()
    yield engine
    engine.close()


@pytest.fixture(scope="module")
def shared_client(classifier, exported):
    """Of an engine that no test changes."""
    engine = Engine(classifier, Metrics())
    engine.start()
    yield create_app(engine, check_manifest(exported)).test_client()
    engine.close()


@pytest.fixture
def app(engine, exported):
    return create_app(engine, check_manifest(exported))


@pytest.fixture
def client(app):
    return app.test_client()


class Gate:
    """Holds an engine's worker until it is opened, so that a test decides what waits together."""

    def __init__(self, engine):
        self.opened = threading.Event()
        reached = threading.Event()
        later = time.monotonic() + 60

        def parts():
            reached.set()
            self.opened.wait(30)
            yield from ()

        self.future = engine.run(parts(), later)
        assert reached.wait(30)

    def open(self):
        self.opened.set()
        self.future.result(30)


@pytest.mark.parametrize(
    ("host", "status"),
    [("localhost:8000", 200), ("127.0.0.1", 200), ("[::1]:80", 200), ("LOCALHOST", 200),
     ("reviews.example:8000", 200), ("evil.example", 400), ("10.0.0.1:8000", 400), ("[", 400),
     ("localhost.evil.example", 400)],
)  # fmt: skip
def test_a_page_from_elsewhere_cannot_call_it_by_a_name_of_its_own(engine, exported, host, status):
    hosts = [*middleware.LOOPBACK, "reviews.example"]
    client = create_app(engine, check_manifest(exported), hosts=hosts).test_client()
    assert client.get("/info", headers={"Host": host}).status_code == status
    assert client.get("/health/live", headers={"Host": host}).status_code == 200


def in_a_minute():
    return time.monotonic() + 60


def test_long_jobs_and_predictions_take_turns(engine):
    parts = 0

    def endless():
        nonlocal parts
        while True:
            parts += 1
            yield

    late = time.monotonic() + 3
    futures = [engine.run(endless(), late) for _ in range(MOST_LONG_JOBS)]
    with pytest.raises(Unavailable, match="Too many long requests"):
        engine.run(endless(), in_a_minute())
    for _ in range(20):  # each is answered between two parts, whatever waits
        [future] = engine.predict([[2, 8, 3]], in_a_minute())
        assert future.result(2).shape == (2,)
    assert parts >= 20
    for future in futures:
        with pytest.raises(DeadlinePassed):
            future.result(30)
    assert engine.run(iter_once(), in_a_minute()).result(30) == "done"


def iter_once():
    yield
    return "done"


def test_a_long_job_that_fails_or_is_cancelled_stops_no_other(engine):
    def broken():
        yield
        raise ValueError("a bad text")

    gate = Gate(engine)
    first, second, third = (
        engine.run(job, in_a_minute()) for job in (broken(), iter_once(), iter_once())
    )
    second.cancel()
    gate.open()
    with pytest.raises(ValueError, match="a bad text"):
        first.result(30)
    assert third.result(30) == "done"


def test_one_client_cannot_take_all_explanations(engine, app):
    gate = Gate(engine)
    body = {"inputs": "great film"}

    def explain_from(address):
        client = app.test_client()
        return client.post("/explain", json=body, environ_base={"REMOTE_ADDR": address})

    with ThreadPoolExecutor(2) as pool:
        waiting = [pool.submit(explain_from, "10.0.0.1") for _ in range(2)]
        while len(engine._long) < 3:
            time.sleep(0.01)
        refused = explain_from("10.0.0.1")
        assert refused.status_code == 429
        assert refused.headers["Retry-After"]
        gate.open()
        assert [answer.result(30).status_code for answer in waiting] == [200, 200]
    assert explain_from("10.0.0.1").status_code == 200


def test_one_text_gets_one_prediction_and_a_list_one_for_each_in_order(shared_client, classifier):
    one = shared_client.post("/predict", json={"inputs": TEXTS[1]})
    several = shared_client.post("/predict", json={"inputs": TEXTS})
    expected = classifier.predict(TEXTS)
    assert one.status_code == several.status_code == 200
    assert [row["truncated"] for [row] in several.json] == [False, True, False]
    for [row], direct in zip([one.json, *several.json], [expected[1], *expected], strict=True):
        assert row["label"] == direct.label
        assert row["score"] == pytest.approx(direct.score, abs=0.01)  # bf16, where there is


def test_each_word_gets_a_weight_and_what_a_cut_left_out_none(shared_client, classifier):
    answer = shared_client.post("/explain", json={"inputs": "great<br />film, but dull."}).json
    assert [word["text"] for word in answer["words"]] == ["great", "film,", "but", "dull."]
    assert all(isinstance(word["weight"], float) for word in answer["words"])
    expected = explain(classifier, "great film, but dull.", FEW_STEPS)[2]
    assert answer["completeness_error"] == pytest.approx(expected, abs=1e-3)
    long = shared_client.post("/explain", json={"inputs": TEXTS[1]}).json
    assert long["truncated"] is True
    cut = [word["weight"] is None for word in long["words"]]
    assert not cut[0]
    assert not cut[-1]
    assert sum(cut) == 900 - 510


@pytest.mark.parametrize(
    ("body", "kind", "status", "reason"),
    [
        (b"{", "application/json", 400, "no JSON"),
        (b"\xff", "application/json", 400, "no JSON"),
        (b"[" * 30_000, "application/json", 400, "no JSON"),
        (b"{}", "text/plain", 415, "Content-Type"),
        (b"inputs=a", "application/x-www-form-urlencoded", 415, "Content-Type"),
        (b"x" * (MAX_BODY + 1), "application/json", 413, "body"),
        (b"{}", "application/json", 422, "required"),
        (b"[]", "application/json", 422, "dictionary"),
        (b"null", "application/json", 422, "required"),
        (b'{"inputs": 1}', "application/json", 422, "text or a list"),
        (b'{"inputs": ""}', "application/json", 422, "at least 1"),
        (b'{"inputs": " <br /> "}', "application/json", 422, "empty"),
        (b'{"inputs": []}', "application/json", 422, "at least 1"),
        (b'{"inputs": ["a", 1]}', "application/json", 422, "string"),
        (b'{"inputs": ["a", "\\ud800"]}', "application/json", 422, "unicode"),
        (b'{"inputs": "a", "more": 1}', "application/json", 422, "Extra"),
        (json.dumps({"inputs": ["a"] * (MAX_ITEMS + 1)}).encode(), "application/json", 422, "32"),
        (json.dumps({"inputs": "a" * (MAX_CHARACTERS + 1)}).encode(), "application/json", 422,
         "20000"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("route", ["/predict", "/explain"])
def test_a_bad_request_is_refused_with_its_reason_as_json(
    shared_client, route, body, kind, status, reason
):
    answer = shared_client.post(route, data=body, content_type=kind)
    if route == "/explain" and reason in ("32", "text or a list"):
        reason = "string"  # it takes no lists
    if route == "/explain" and b"[" in body and status == 422 and body != b"[]":
        reason = "string"
    assert answer.status_code == status
    assert answer.is_json
    assert reason in json.dumps(answer.json)


def test_unknown_routes_and_methods_are_refused_as_json(shared_client):
    assert shared_client.get("/nothing").json["message"] == "Not Found"
    answer = shared_client.get("/predict")
    assert answer.status_code == 405
    assert answer.is_json


def test_every_answer_has_the_security_headers_and_none_allows_other_origins(shared_client):
    for answer in (
        shared_client.get("/"),
        shared_client.get("/health/live"),
        shared_client.get("/nothing"),
        shared_client.post("/predict", json={"inputs": "great"}, headers={"Origin": "http://evil"}),
    ):
        assert "default-src 'none'" in answer.headers["Content-Security-Policy"]
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        assert not [name for name, _ in answer.headers if name.startswith("Access-Control")]


def test_the_page_asks_below_its_own_address_alone(shared_client):
    """So that it works behind a prefix, such as that of a notebook server's proxy."""
    page = shared_client.get("/").text
    addresses = re.findall(r'(?:href|src)="([^"]+)"', page)
    script = next(address for address in addresses if address.endswith(".js"))
    asked = re.findall(r'ask\("([^"]+)"', shared_client.get(f"/{script}").text)
    assert set(asked) == {"predict", "explain", "info"}
    for address in addresses + asked:
        assert not address.startswith(("/", ".", "http"))
        assert shared_client.get(f"/{address}").status_code != 404


def test_the_files_of_the_page_come_from_memory(shared_client):
    for name, kind in (("page.js", "text/javascript"), ("page.css", "text/css"),
                       ("icon.svg", "image/svg+xml")):  # fmt: skip
        answer = shared_client.get(f"/static/{name}")
        assert answer.mimetype == kind
        assert answer.data == (api.PAGE / name).read_bytes()
        assert not answer.direct_passthrough
        known = {"If-None-Match": answer.headers["ETag"]}
        assert shared_client.get(f"/static/{name}", headers=known).status_code == 304
    assert shared_client.get("/").data == (api.PAGE / "index.html").read_bytes()
    for name in ("nothing.js", "../api.py", "%2e%2e/api.py"):
        assert shared_client.get(f"/static/{name}").status_code == 404


def test_a_key_is_asked_for_where_one_is_set(engine, exported, monkeypatch):
    monkeypatch.setenv(KEY, "secret")
    compared = []
    real = hmac.compare_digest
    monkeypatch.setattr(
        middleware.hmac, "compare_digest", lambda *a: compared.append(a) or real(*a)
    )
    client = create_app(engine, check_manifest(exported)).test_client()
    body = {"inputs": "great"}
    for headers in ({}, {"Authorization": "Bearer wrong"}, {"Authorization": "Bearer é"}):
        answer = client.post("/predict", json=body, headers=headers)
        assert answer.status_code == 401
        assert answer.is_json
    good = {"Authorization": "Bearer secret"}
    assert client.post("/predict", json=body, headers=good).status_code == 200
    assert compared
    assert client.post("/explain", json=body).status_code == 401
    for route in ("/info", "/metrics"):
        assert client.get(route).status_code == 401
        assert client.get(route, headers=good).status_code == 200
    assert client.get("/health/ready").status_code == 200


def test_info_names_the_model_and_its_limits(shared_client, exported):
    info = shared_client.get("/info").json
    assert info["model_sha256"] == check_manifest(exported)["sha256"]["model.safetensors"]
    assert info["labels"] == ["NEGATIVE", "POSITIVE"]
    assert info["runtime"] == f"torch, {info['precision']}"
    assert info["runtime_because"]
    assert info["limits"]["max_items"] == MAX_ITEMS


def test_metrics_count_requests_by_route_and_status(client):
    client.post("/predict", json={"inputs": "great"})
    client.post("/predict", json={})
    found = client.get("/metrics").text
    assert 'reviews_requests_total{route="/predict",status="200"} 1.0' in found
    assert 'reviews_requests_total{route="/predict",status="422"} 1.0' in found
    assert client.get("/metrics").headers["Content-Type"] == CONTENT_TYPE_LATEST


@pytest.mark.parametrize("debug", ["0", "1"])
def test_reviews_are_never_logged_even_where_something_breaks(
    engine, exported, caplog, monkeypatch, debug
):
    monkeypatch.setenv("FLASK_DEBUG", debug)
    app = create_app(engine, check_manifest(exported))
    review = "a secret review"

    def broken(*_):
        raise RuntimeError(f"cannot read: {review}")

    client = app.test_client()
    with caplog.at_level(logging.DEBUG):
        client.post("/predict", json={"inputs": review})
        monkeypatch.setattr(engine.classifier, "softmax", broken)
        answer = client.post("/predict", json={"inputs": review})
    assert answer.status_code == 500
    assert answer.json == {"message": "Internal Server Error", "detail": {}}
    assert "RuntimeError" in caplog.text
    assert "secret" not in caplog.text


def test_a_text_that_breaks_the_model_leaves_the_others_of_its_batch_answered(
    engine, classifier, monkeypatch
):
    real = classifier.softmax
    bad = [7, 7, 7]

    def softmax(ids):
        if bad in ids:
            raise RuntimeError("boom")
        return real(ids)

    monkeypatch.setattr(classifier, "softmax", softmax)
    gate = Gate(engine)
    futures = engine.predict([[2, 9, 3], bad, [2, 10, 3]], in_a_minute())
    gate.open()
    wait(futures, 30)
    assert isinstance(futures[1].exception(), RuntimeError)
    for future, ids in ((futures[0], [2, 9, 3]), (futures[2], [2, 10, 3])):
        assert np.allclose(future.result(), real([ids])[0], atol=0.01)
    assert engine.alive


def test_the_model_that_explains_is_loaded_when_it_is_asked_for_and_predictions_go_on(exported):
    loaded = Classifier.from_folder(exported, "torch")
    asked, go_on = threading.Event(), threading.Event()

    def load():
        asked.set()
        assert go_on.wait(30)
        return loaded.model

    classifier = Classifier(load, loaded.tokenizer, runtime=loaded.runtime)
    engine = Engine(classifier, Metrics())
    engine.start()
    client = create_app(engine, check_manifest(exported)).test_client()
    assert not asked.is_set()
    with ThreadPoolExecutor(1) as pool:
        explained = pool.submit(client.post, "/explain", json={"inputs": "a great film"})
        assert asked.wait(30)
        assert client.post("/predict", json={"inputs": "a great film"}).status_code == 200
        go_on.set()
        assert explained.result().status_code == 200
    engine.close()


def test_an_explanation_whose_model_is_not_loaded_in_time_is_late(exported):
    loaded, never = Classifier.from_folder(exported, "torch"), threading.Event()
    classifier = Classifier(lambda: never.wait(30), loaded.tokenizer, runtime=loaded.runtime)
    engine = Engine(classifier, Metrics())
    engine.start()
    client = create_app(engine, check_manifest(exported), deadline_seconds=0.3).test_client()
    assert client.post("/explain", json={"inputs": "a great film"}).status_code == 504
    never.set()
    engine.close()


def test_what_waits_together_is_computed_together_the_oldest_and_its_like(
    engine, classifier, monkeypatch
):
    batches, real = [], classifier.softmax
    monkeypatch.setattr(
        classifier, "softmax", lambda ids: batches.append([len(row) for row in ids]) or real(ids)
    )
    gate = Gate(engine)
    lengths = [200, 5, 220, 6, 210, 5, 230]
    futures = [engine.predict([[1] * n], in_a_minute())[0] for n in lengths]
    gate.open()
    wait(futures, 30)
    assert batches[0][0] == 200
    assert sorted(batches[0]) == [200, 210, 220, 230]
    assert sorted(n for batch in batches for n in batch) == sorted(lengths)


def test_late_and_cancelled_work_is_dropped_and_not_computed(engine, classifier, monkeypatch):
    computed, real = [], classifier.softmax
    monkeypatch.setattr(classifier, "softmax", lambda ids: computed.extend(ids) or real(ids))
    gate = Gate(engine)
    [late] = engine.predict([[2, 9, 3]], time.monotonic() + 0.01)
    [gone] = engine.predict([[2, 10, 3]], in_a_minute())
    [kept] = engine.predict([[2, 11, 3]], in_a_minute())
    gone.cancel()
    time.sleep(0.02)
    gate.open()
    kept.result(30)
    with pytest.raises(DeadlinePassed):
        late.result(30)
    with pytest.raises(CancelledError):
        gone.result(30)
    assert computed == [[2, 11, 3]]


def test_a_full_queue_refuses_and_says_when_to_come_back(engine, client):
    gate = Gate(engine)
    engine._tokens_per_second = 100.0
    client_of = in_a_minute(), "127.0.0.1"
    [first] = engine.predict([[1] * 288], *client_of)
    with pytest.raises(Unavailable):
        engine.predict([[1] * 288], *client_of)
    answer = client.post("/predict", json={"inputs": ["great " * 150] * 2})
    assert answer.status_code == 503
    assert answer.headers["Retry-After"] == "3"
    assert answer.json["message"] == "Too much is waiting already."
    gate.open()
    first.result(30)
    assert client.post("/predict", json={"inputs": "great"}).status_code == 200


def test_a_service_that_starts_or_stops_says_so(classifier, exported):
    engine = Engine(classifier, Metrics())
    client = create_app(engine, check_manifest(exported)).test_client()
    answers = [client.post("/predict", json={"inputs": "great"})]
    engine.start()
    engine.close()
    answers.append(client.post("/predict", json={"inputs": "great"}))
    assert [answer.status_code for answer in answers] == [503, 503]
    assert [answer.json["message"] for answer in answers] == [
        "The model is not ready yet.", "It is stopping.",
    ]  # fmt: skip


def test_on_a_slow_processor_the_load_is_what_the_queue_lets_in(engine):
    engine._tokens_per_second = 100.0
    assert engine_alone(engine, [[1] * 300], waiting=5, seconds=0.2) > 0


def test_a_service_on_this_machine_is_not_asked_by_way_of_a_proxy(monkeypatch):
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")  # where nobody listens
    with HTTPServer(("127.0.0.1", 0), SimpleHTTPRequestHandler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        assert launcher._answers(f"http://127.0.0.1:{server.server_port}/")
        server.shutdown()


def test_more_requests_than_slots_are_refused(monkeypatch, engine, exported):
    for slots, status in ((0, 429), (1, 200)):
        monkeypatch.setattr(api, "MAX_REQUESTS", slots)
        client = create_app(engine, check_manifest(exported)).test_client()
        for _ in range(2):  # a slot is free again after its answer
            answer = client.post("/predict", json={"inputs": "great"})
            assert answer.status_code == status
            assert answer.headers.get("Retry-After") == ("1" if status == 429 else None)


def test_one_client_leaves_slots_to_the_others(monkeypatch, engine, exported):
    monkeypatch.setattr("utils.service.middleware.MAX_OF_CLIENT", 1)
    client = create_app(engine, check_manifest(exported)).test_client()
    gate = Gate(engine)
    post = partial(client.post, "/predict", json={"inputs": "great"})

    def waits(number: int) -> None:
        end = time.monotonic() + 30
        while len(engine._waiting) < number:
            assert time.monotonic() < end
            time.sleep(0.001)

    first = threading.Thread(target=post)
    first.start()
    waits(1)
    assert post().status_code == 429
    other = threading.Thread(target=post, kwargs={"environ_base": {"REMOTE_ADDR": "10.0.0.1"}})
    other.start()
    waits(2)
    gate.open()
    first.join(30)
    other.join(30)
    assert post().status_code == 200  # its share is free again


def test_an_empty_text_is_named_by_its_place(shared_client):
    for route, inputs, places in (
        ("/predict", "\u200b", ["inputs.text"]),
        ("/predict", ["a", "\u0301", "b", " "], ["inputs.texts.1", "inputs.texts.3"]),
        ("/explain", "\x00", ["inputs"]),
    ):
        answer = shared_client.post(route, json={"inputs": inputs})
        assert answer.status_code == 422
        reasons = {place: ["Value error, the text is empty"] for place in places}
        assert answer.json == {"message": "Validation error", "detail": {"json": reasons}}


def test_texts_are_read_one_request_at_a_time_until_the_deadline(monkeypatch, engine, exported):
    reading, over = threading.Event(), threading.Event()
    monkeypatch.setattr(api, "is_empty", lambda _: bool(reading.set() or over.wait(30)))
    client = create_app(engine, check_manifest(exported), deadline_seconds=0.2).test_client()
    post = partial(client.post, "/predict", json={"inputs": "great"})
    first = threading.Thread(target=post)
    first.start()
    assert reading.wait(30)
    assert post().status_code == 504
    over.set()
    first.join(30)
    assert post().status_code == 422


def test_without_a_free_slot_a_body_is_not_even_parsed(monkeypatch, engine, exported):
    """Refusing must cost little: under overload it is most of what is done."""
    for slots, status in ((0, 429), (1, 400)):
        monkeypatch.setattr(api, "MAX_REQUESTS", slots)
        client = create_app(engine, check_manifest(exported)).test_client()
        for _ in range(2):  # what is refused for its body gives its slot back
            answer = client.post("/predict", data="{no", content_type="application/json")
            assert answer.status_code == status


def test_past_the_deadline_the_answer_is_504_and_the_work_is_given_up(engine, exported):
    client = create_app(engine, check_manifest(exported), deadline_seconds=0.2).test_client()
    gate = Gate(engine)
    answer = client.post("/predict", json={"inputs": "great"})
    assert answer.status_code == 504
    assert answer.is_json
    gate.open()
    patient = create_app(engine, check_manifest(exported)).test_client()
    assert patient.post("/predict", json={"inputs": "great"}).status_code == 200
    assert engine.metrics.dropped._value.get() == 1


def test_work_is_given_up_where_the_client_is_gone(engine, client):
    gate = Gate(engine)
    started = time.monotonic()
    there = iter([True])  # until its text was read
    gone = {"waitress.client_disconnected": lambda: not next(there, False)}
    client.post("/predict", json={"inputs": "great"}, environ_overrides=gone)
    assert time.monotonic() - started < 5
    gate.open()
    engine.predict([[2, 9, 3]], in_a_minute())[0].result(30)
    assert engine.metrics.dropped._value.get() == 1


def test_a_text_is_not_even_read_where_the_client_is_gone(engine, client, monkeypatch):
    monkeypatch.setattr(api, "tokenize", None)
    gone = {"waitress.client_disconnected": lambda: True}
    answer = client.post("/predict", json={"inputs": "great"}, environ_overrides=gone)
    assert answer.status_code == 408


def test_closing_answers_what_waits_and_takes_no_more(engine, client):
    gate = Gate(engine)
    [waiting] = engine.predict([[2, 9, 3]], in_a_minute())
    engine.close()
    assert client.get("/health/ready").status_code == 503
    assert client.get("/health/live").status_code == 200
    assert client.post("/predict", json={"inputs": "great"}).status_code == 503
    gate.open()
    assert waiting.result(30).shape == (2,)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_dead_worker_shows_in_its_health(engine, client, monkeypatch):
    monkeypatch.setattr(engine, "_take", lambda: 1 / 0)
    engine.predict([[2, 9, 3]], in_a_minute())
    engine._worker.join(30)
    assert client.get("/health/live").status_code == 503
    assert client.get("/health/ready").status_code == 503


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
@pytest.mark.parametrize("dies", ["_take", "_answer"])
def test_once_the_worker_died_everyone_is_refused_at_once(engine, client, monkeypatch, dies):
    gate = Gate(engine)
    waiting = [engine.predict([[1] * n], in_a_minute())[0] for n in (3, 500)]  # of two batches
    monkeypatch.setattr(engine, dies, lambda *_: 1 / 0)
    gate.open()
    for future in waiting:
        with pytest.raises(Unavailable, match="restart it"):
            future.result(5)
    engine._worker.join(30)
    started = time.monotonic()
    for route in ("/predict", "/explain"):
        answer = client.post(route, json={"inputs": "great"})
        assert answer.status_code == 503
        assert "restart it" in answer.json["message"]
    assert time.monotonic() - started < 5


def test_before_the_warm_up_it_is_alive_and_not_ready(classifier, exported):
    client = create_app(Engine(classifier, Metrics()), check_manifest(exported)).test_client()
    assert client.get("/health/live").status_code == 200
    assert client.get("/health/ready").status_code == 503
    for route in ("/predict", "/explain"):
        answer = client.post(route, json={"inputs": "great"})
        assert (answer.status_code, answer.headers["Retry-After"]) == (503, "1")


def test_a_warm_up_that_fails_shows_in_its_health(classifier, exported, monkeypatch):
    engine = Engine(classifier, Metrics())
    monkeypatch.setattr(classifier, "softmax", lambda ids: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        engine.start()
    client = create_app(engine, check_manifest(exported)).test_client()
    assert client.get("/health/live").status_code == 503
    answer = client.post("/predict", json={"inputs": "great"})
    assert answer.status_code == 503
    assert "restart it" in answer.json["message"]


def test_short_texts_do_not_shrink_the_queue(engine):
    """They are slow for what they hold, which says nothing of full batches."""
    engine._tokens_per_second = 1e9  # that nothing reaches
    for _ in range(50):
        engine.predict([[2, 9, 3]], in_a_minute())[0].result(30)
    assert engine._tokens_per_second > 0.99e9
    engine.predict([[9] * 512] * 64, in_a_minute())[-1].result(60)
    assert engine._tokens_per_second < 0.99e9


@pytest.mark.parametrize("key", ["", " ", "two words", "a=b", "schlüssel"])
def test_a_key_that_no_client_could_send_stops_the_service(engine, exported, monkeypatch, key):
    monkeypatch.setenv(KEY, key)
    with pytest.raises(InputError, match=KEY):
        create_app(engine, check_manifest(exported))


@pytest.mark.parametrize("route", ["/predict", "/explain"])
def test_a_key_that_is_given_twice_is_refused(client, route):
    body = '{"inputs": "A moving film.", "inputs": "A dull one."}'
    response = client.post(route, data=body, content_type="application/json")
    assert response.status_code == 400
    assert "gives a key twice" in response.json["message"]


def test_a_load_test_in_which_nobody_is_answered_says_so():
    answers = Answers(seconds=1.0)
    answers.outcomes[503] += 2
    with pytest.raises(InputError, match=r"answered nobody: \{503: 2\}"):
        answers.summary()
    answers.latencies.append(0.5)
    assert answers.summary()["p99_ms"] == 500


def test_a_log_message_is_one_line_whatever_a_path_holds():
    record = logging.LogRecord(
        "x", logging.INFO, "", 0, "GET %s", ("/a\n2026 listening\x1b[0m",), None
    )
    assert middleware.OneLine("%(message)s").format(record) == r"GET /a\n2026 listening\x1b[0m"


def test_one_clients_long_lists_do_not_shut_out_the_others(engine):
    gate = Gate(engine)
    engine._tokens_per_second = 100.0
    lists = engine.predict([[1] * 100] * 4, in_a_minute(), "one")  # four seconds of work
    with pytest.raises(Unavailable):
        engine.predict([[1] * 50], in_a_minute(), "one")
    with pytest.raises(Unavailable):
        engine.predict([[1] * 450], in_a_minute(), "another")  # longer than any queue
    others = engine.predict([[1] * 50] * 2, in_a_minute(), "another")
    with pytest.raises(Unavailable):
        engine.predict([[1] * 50], in_a_minute(), "another")  # which has its request by now
    gate.open()
    assert [future.result(30) is not None for future in (*lists, *others)] == [True] * 6


def test_a_list_longer_than_the_queue_does_not_shut_out_the_others(engine, monkeypatch):
    monkeypatch.setattr("utils.service.batching.BATCH_TOKENS", 64)
    computed = []
    softmax = engine.classifier.softmax
    monkeypatch.setattr(
        engine.classifier, "softmax", lambda ids: computed.append(ids) or softmax(ids)
    )
    gate = Gate(engine)
    engine._tokens_per_second = 10.0
    many = engine.predict([[2] * 64] * 8, in_a_minute(), "one")  # taken, since nothing waited
    [other] = engine.predict([[3] * 5], in_a_minute(), "another")
    gate.open()
    for future in (*many, other):
        future.result(30)
    assert [3] * 5 in computed[1]  # after one text of the list


def test_clients_that_ask_again_do_not_starve_the_others(engine, monkeypatch):
    """Each is away for one batch, and comes while the next one is computed."""
    computed, away = [], []
    softmax = engine.classifier.softmax

    def compute(ids: list[list[int]]):
        computed.append(len(ids[0]))
        for client, length in away:
            ask(client, length)
        away.clear()
        return softmax(ids)

    def ask(client: str, length: int) -> None:
        [future] = engine.predict([[3] * length], in_a_minute(), client)
        if len(computed) < 12:
            future.add_done_callback(lambda _: away.append((client, length)))

    monkeypatch.setattr(engine.classifier, "softmax", compute)
    gate = Gate(engine)
    lengths = [16, 64, 160]  # too unlike for one batch
    texts = engine.predict([[2] * length for length in lengths], in_a_minute(), "list")
    ask("a", 320)
    ask("b", 480)
    gate.open()
    for future in texts:
        future.result(30)
    assert max(computed.index(length) for length in lengths) <= 8  # it has each third batch


def test_short_texts_cost_what_they_are_padded_to(engine):
    gate = Gate(engine)
    engine._tokens_per_second = 100.0
    texts = engine.predict([[1] * 3] * 20, in_a_minute(), "one")  # three seconds of work
    with pytest.raises(Unavailable):
        engine.predict([[1] * 3] * 10, in_a_minute(), "one")
    gate.open()
    for future in texts:
        future.result(30)


def test_many_unknown_fields_are_named_once(client):
    answer = client.post("/predict", json={f"field{n}": n for n in range(1000)})
    assert answer.status_code == 422
    assert len(answer.data) < 1000
