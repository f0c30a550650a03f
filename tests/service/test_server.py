"""The service as a process: faults of clients and of its own, and any input the document allows."""

import http.client
import json
import logging
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path

import httpx
import pytest
from apiflask import APIFlask

from utils import InputError
from utils.inference.classifier import Classifier
from utils.manifest import check_manifest
from utils.paths import ROOT
from utils.service import server as server_module
from utils.service.api import create_app
from utils.service.batching import Engine
from utils.service.launcher import Service, our_service
from utils.service.metrics import Metrics
from utils.service.middleware import KEY, MAX_BODY
from utils.service.server import listen, serve

pytestmark = pytest.mark.slow
TEXTS = [f"{word} film with a {word} story" for word in ("great", "dull", "warm", "weak")]


@pytest.fixture(scope="module")
def service(exported, tmp_path_factory):
    with our_service(exported, tmp_path_factory.mktemp("service") / "log") as running:
        yield running


@pytest.fixture(scope="module")
def expected(exported):
    """The direct prediction of each of TEXTS."""
    predictions = Classifier.from_folder(exported).predict(TEXTS)
    return dict(zip(TEXTS, predictions, strict=True))


def is_right(answer: list[dict], prediction) -> bool:
    [row] = answer
    return row["label"] == prediction.label and abs(row["score"] - prediction.score) < 0.01


def connect(service) -> socket.socket:
    return socket.create_connection(("127.0.0.1", service.port), timeout=60)


def answer_to(connection: socket.socket) -> tuple[int, dict]:
    response = http.client.HTTPResponse(connection)
    response.begin()
    return response.status, json.loads(response.read())


def pieces_until_cut_off(connection: socket.socket, piece: bytes, pause: float) -> int:
    """How many could be sent; 20 seconds at most."""
    sent, end = 0, time.monotonic() + 20
    try:
        while time.monotonic() < end:
            connection.sendall(piece)
            sent += 1
            time.sleep(pause)
    except OSError:
        return sent
    pytest.fail(f"not cut off after {sent} pieces")


def test_idle_connections_do_not_keep_others_out(exported, tmp_path, monkeypatch):
    """Nor do they, where the process may open few files, have it spin or fill its log."""
    resource = pytest.importorskip("resource")
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (100, before[1]))  # for the service, which inherits
    try:
        running = Service(exported, tmp_path / "log")
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)
    idle = []
    try:
        for _ in range(150):
            idle.append(socket.create_connection(("127.0.0.1", running.port), timeout=5))
        for _ in range(3):
            answer = httpx.get(f"{running.url}/health/live", timeout=5, trust_env=False)
            assert answer.status_code == 200
    finally:
        for connection in idle:
            connection.close()
        assert running.stop() == 0
    assert len(running.log.read_text(encoding="utf-8").splitlines()) < 40


def test_answers_that_nobody_takes_do_not_keep_others_out(exported, monkeypatch):
    """In this process, so that a connection has little room and its time is short."""
    monkeypatch.setattr(server_module, "most_connections", lambda: 8)
    monkeypatch.setattr(server_module, "STALLED_SECONDS", 0.5)
    monkeypatch.setattr(server_module, "RECEIVE_SECONDS", 1)
    app = APIFlask("flood")
    app.get("/health/live", endpoint="alive")(lambda: {"status": "alive"})
    app.get("/much", endpoint="much")(lambda: "x" * 10_000_000)
    server = server_module.listen(app, "127.0.0.1", 0)
    running = threading.Thread(target=server.run, daemon=True)
    running.start()
    place = ("127.0.0.1", server.effective_port)
    greedy = [socket.create_connection(place, timeout=5) for _ in range(8)]
    try:
        for connection in greedy:
            connection.sendall(b"GET /much HTTP/1.1\r\nHost: localhost\r\n\r\n")
        time.sleep(1)
        url = f"http://127.0.0.1:{server.effective_port}/health/live"
        assert httpx.get(url, timeout=5, trust_env=False).status_code == 200
        end = time.monotonic() + 10
        while any(c.total_outbufs_len for c in list(server.active_channels.values())):
            assert time.monotonic() < end, "answers that nobody takes are kept"
            time.sleep(0.1)
    finally:
        for connection in greedy:
            connection.close()
        server.trigger.pull_trigger(lambda: server.asyncore.close_all(server._map))
        running.join(5)


def test_requests_sent_ahead_are_answered_up_to_a_number_and_hold_no_file(service, expected):
    """Eight may wait on a connection, which then closes; whoever reads nothing holds no files."""
    ask = b"GET /static/page.js HTTP/1.1\r\nHost: localhost\r\n\r\n"
    with connect(service) as connection:
        connection.sendall(ask * 8)
        connection.sendall(ask.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"))
        assert len(answers_until_the_end(connection)) in (8, 9)
    with connect(service) as connection:
        connection.sendall(ask * 120)  # of one read
        answers = answers_until_the_end(connection)
    assert 8 <= len(answers) < 20  # a few were answered before the others were counted
    closing = [b"Connection: close" in answer for answer in answers]
    assert closing == [False] * (len(answers) - 1) + [True]
    files = Path(f"/proc/{service.process.pid}/fd")
    before = len(list(files.iterdir())) if files.exists() else 0
    flood = [connect(service) for _ in range(14)]
    try:
        for connection in flood:
            connection.sendall(ask * 150)
        time.sleep(1)
        if files.exists():
            assert len(list(files.iterdir())) <= before + len(flood) + 5
        still_answers(service, expected)
    finally:
        for connection in flood:
            connection.close()


def answers_until_the_end(connection: socket.socket) -> list[bytes]:
    """The heads of all answers; a reset, where more was sent than is read, ends them too."""
    received = b""
    with suppress(ConnectionResetError):
        while piece := connection.recv(65536):
            received += piece
    return received.split(b"HTTP/1.1 200 OK\r\n")[1:]


def test_two_lengths_in_one_request_are_refused(service):
    with connect(service) as connection:
        connection.sendall(
            b"POST /predict HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
            b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"
        )
        status, body = answer_to(connection)
    assert status == 400
    assert "exclude each other" in json.dumps(body)


def test_chunks_in_http_1_0_are_refused(service):
    """A server before this one may read them, and see one request where there seem to be two."""
    with connect(service) as connection:
        connection.sendall(
            b"POST /predict HTTP/1.0\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n"
            b"0\r\n\r\n"
        )
        status, body = answer_to(connection)
    assert status == 400
    assert "Transfer-Encoding" in json.dumps(body)


def still_answers(service, expected):
    answer = httpx.post(f"{service.url}/predict", json={"inputs": TEXTS[0]})
    assert is_right(answer.json(), expected[TEXTS[0]])


def test_what_is_not_http_or_too_large_is_refused_as_json(service, expected):
    long = b"GET / HTTP/1.1\r\nX-Long: " + b"x" * 20_000 + b"\r\n\r\n"
    for sent, status in ((b"hello\r\n\r\n", 400), (long, 431)):
        with connect(service) as connection:
            connection.sendall(sent)
            found, body = answer_to(connection)
            assert found == status
            assert body["message"]
    still_answers(service, expected)


def test_a_body_that_never_ends_is_cut_off(service, expected):
    head = b"POST /predict HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    with connect(service) as connection:
        connection.sendall(head + b"Transfer-Encoding: chunked\r\n\r\n")
        sent = pieces_until_cut_off(connection, b"400\r\n" + b"x" * 1024 + b"\r\n", 0.001)
    assert sent * 1024 < 50 * MAX_BODY
    with connect(service) as connection:
        connection.sendall(head + b"Content-Length: 99999999\r\n\r\n")
        assert answer_to(connection)[0] == 413
    still_answers(service, expected)


def test_clients_that_hang_up_harm_nobody(service, expected):
    body = json.dumps({"inputs": ["a dull story " * 400] * 10}).encode()
    head = b"POST /predict HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    whole = head + b"Content-Length: %d\r\n\r\n" % len(body) + body
    for number in range(20):
        connection = connect(service)
        connection.sendall(whole if number % 2 else whole[: len(whole) // 2])
        connection.close()
    still_answers(service, expected)
    end = time.monotonic() + 30
    while "reviews_waiting_texts 0.0" not in httpx.get(f"{service.url}/metrics").text:
        assert time.monotonic() < end, "work of clients that are gone stays in the queue"
        time.sleep(0.1)


def test_a_request_that_arrives_byte_by_byte_is_cut_off(exported, monkeypatch):
    monkeypatch.setattr(server_module, "RECEIVE_SECONDS", 2)
    engine = Engine(Classifier.from_folder(exported), Metrics())
    server = listen(create_app(engine, check_manifest(exported)), "127.0.0.1", 0)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    with socket.create_connection(("127.0.0.1", int(server.effective_port))) as connection:
        connection.sendall(b"POST /predict HTTP/1.1\r\nContent-Length: 1000\r\n\r\n")
        assert pieces_until_cut_off(connection, b"x", 0.1) < 150  # of 1,000
    server.trigger.pull_trigger(lambda: server.asyncore.close_all(server._map))
    thread.join(30)
    assert not thread.is_alive()


def test_an_address_in_use_is_an_error_that_names_it(service, exported):
    engine = Engine(Classifier.from_folder(exported), Metrics())
    with pytest.raises(InputError, match=f"127.0.0.1:{service.port} cannot be listened at"):
        listen(create_app(engine, check_manifest(exported)), "127.0.0.1", service.port)


class Clients:
    """Threads that ask until the service is gone, each counting what it got."""

    def __init__(self, url: str, expected: dict, count: int = 16):
        self.url, self.expected = url, expected
        self.outcomes: list[str] = []
        self.stopping = threading.Event()
        self.threads = [threading.Thread(target=self._ask, args=[n]) for n in range(count)]
        for thread in self.threads:
            thread.start()

    def _ask(self, number: int) -> None:
        with httpx.Client(timeout=60) as client:
            while not self.stopping.is_set():
                text = TEXTS[number % len(TEXTS)]
                try:
                    answer = client.post(f"{self.url}/predict", json={"inputs": text})
                except httpx.ConnectError:
                    self.outcomes.append("not accepted")
                    return
                except (httpx.ReadError, httpx.WriteError):
                    self.outcomes.append("reset")
                    return
                except httpx.HTTPError as error:
                    self.outcomes.append(f"lost: {error!r}")
                    return
                if answer.status_code == 200:
                    right = is_right(answer.json(), self.expected[text])
                    self.outcomes.append("right" if right else f"wrong: {answer.text}")
                else:
                    self.outcomes.append(str(answer.status_code))

    def wait_for(self, count: int) -> None:
        """Until so many answers were right, a minute at most."""
        end = time.monotonic() + 60
        while self.outcomes.count("right") < count:
            assert time.monotonic() < end
            time.sleep(0.05)

    def finish(self) -> set[str]:
        for thread in self.threads:
            thread.join(60)
        return set(self.outcomes)


def test_sigterm_under_load_loses_nothing_that_was_accepted(
    exported, expected, tmp_path, monkeypatch
):
    monkeypatch.setenv(KEY, "secret")  # of whoever runs this, not of the service that it starts
    service = Service(exported, tmp_path / "log")
    clients = Clients(service.url, expected)
    clients.wait_for(50)
    assert service.stop() == 0
    found = clients.finish()
    # Who connects in the moment of the close is reset, but no answer that was given is lost.
    assert found <= {"right", "503", "not accepted", "reset"}
    log = service.log.read_text("utf-8")
    for outcome, status in (("right", 200), ("503", 503)):
        assert clients.outcomes.count(outcome) == log.count(f"POST /predict {status} ")
    assert "stopped" in log


def test_sigterm_answers_those_who_are_connected_but_not_accepted_yet(exported, tmp_path):
    """The system completes a connection before the service takes it."""
    service = Service(exported, tmp_path / "log")
    os.kill(service.process.pid, signal.SIGSTOP)
    body = b'{"inputs": "great film"}'
    head = f"POST /predict HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n" \
           f"Content-Length: {len(body)}\r\n\r\n".encode()  # fmt: skip
    waiting = [socket.create_connection(("127.0.0.1", service.port), 30) for _ in range(8)]
    for connection in waiting:
        connection.sendall(head + body)
    service.process.terminate()
    os.kill(service.process.pid, signal.SIGCONT)
    answers = [connection.recv(12) for connection in waiting]
    assert set(answers) <= {b"HTTP/1.1 503", b"HTTP/1.1 200"}
    assert service.process.wait(30) == 0


def test_a_stop_has_one_deadline_for_all_that_it_waits_for(exported, monkeypatch):
    """A batch never ends: neither its client nor its worker are waited for any longer."""
    monkeypatch.setattr(server_module, "STOP_SECONDS", 2)
    exits = []
    monkeypatch.setattr(os, "_exit", exits.append)
    monkeypatch.setattr(logging, "shutdown", lambda: None)  # pytest's handlers are needed yet
    handlers = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    engine = Engine(Classifier.from_folder(exported), Metrics())
    server = listen(create_app(engine, check_manifest(exported), 60), "127.0.0.1", 0)
    computing, over = threading.Event(), threading.Event()
    url = f"http://127.0.0.1:{server.effective_port}"
    stopped = []

    def never_ends(_):
        computing.set()
        over.wait()
        raise RuntimeError("the test is over")

    def ask():
        with suppress(httpx.HTTPError):  # it is cut off
            httpx.post(f"{url}/predict", json={"inputs": "great"}, timeout=60, trust_env=False)

    def ask_and_stop():
        engine._warm.wait(60)
        engine.classifier.softmax = never_ends
        threading.Thread(target=ask, daemon=True).start()
        computing.wait(60)
        stopped.append(time.monotonic())
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=ask_and_stop, daemon=True).start()
    try:
        serve(server, engine)
        assert time.monotonic() - stopped[0] < 3.5
        assert exits == [0]
    finally:
        over.set()
        for number, handler in handlers.items():
            signal.signal(number, handler)


def test_a_signal_stops_it_wherever_it_interrupts_the_loop(exported, monkeypatch):
    """Even there where the loop holds the lock by which other threads wake it."""
    handlers = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    engine = Engine(Classifier.from_folder(exported), Metrics())
    server = listen(create_app(engine, check_manifest(exported)), "127.0.0.1", 0)
    run = server.run

    class Lock:
        """Fails where it would wait for ever."""

        lock = threading.Lock()

        def __enter__(self):
            assert self.lock.acquire(timeout=5), "a deadlock"

        def __exit__(self, *_):
            self.lock.release()

    def interrupted():
        with server.trigger.lock:
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(0.2)
        run()

    monkeypatch.setattr(server.trigger, "lock", Lock())
    monkeypatch.setattr(server, "run", interrupted)
    try:
        serve(server, engine)
        assert engine.closing
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)


def test_sigterm_during_the_warm_up_ends_it_cleanly(exported, tmp_path):
    script = ROOT / "scripts" / "flask-deployment.py"
    command = [sys.executable, script, "--model", exported, "--port", "0"]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    while "listening on" not in process.stderr.readline():
        assert process.poll() is None
    process.terminate()
    _, rest = process.communicate(timeout=60)
    assert process.returncode == 0, rest


def test_the_largest_body_is_taken(service):
    head = '{"inputs": "great", "more": "'
    body = head + "x" * (MAX_BODY - len(head) - 2) + '"}'
    kind = {"Content-Type": "application/json"}
    for more, status in (("", 422), (" ", 413)):  # the field is unknown
        answer = httpx.post(f"{service.url}/predict", content=body + more, headers=kind)
        assert answer.status_code == status
    assert "send fewer reviews" in answer.json()["message"]


def test_after_kill_9_a_restart_answers_rightly(exported, expected, tmp_path):
    service = Service(exported, tmp_path / "log")
    clients = Clients(service.url, expected)
    clients.wait_for(10)
    service.process.kill()
    service.process.wait(30)
    assert not [outcome for outcome in clients.finish() if outcome.startswith("wrong")]
    with our_service(exported, tmp_path / "log", port=service.port) as again:
        still_answers(again, expected)


def test_a_port_that_another_service_has_is_named(service, exported, tmp_path):
    with pytest.raises(InputError, match=f"Port {service.port} is in use"):
        Service(exported, tmp_path / "log", port=service.port)


def test_no_input_that_the_document_describes_or_forbids_breaks_it(service):
    """schemathesis draws requests from the served OpenAPI document, right and wrong ones."""
    schemathesis = pytest.importorskip("schemathesis", reason="make test-all installs it")
    from hypothesis import HealthCheck, given, settings

    schema = schemathesis.openapi.from_url(f"{service.url}/openapi.json")
    operations = [operation.ok() for operation in schema.get_all_operations()]
    assert {operation.path for operation in operations} >= {"/predict", "/explain", "/info"}
    right, wrong = schemathesis.GenerationMode.POSITIVE, schemathesis.GenerationMode.NEGATIVE
    for operation in operations:
        # Without a body or parameters there is nothing to get wrong.
        for mode in (right, wrong) if operation.method == "post" else (right,):
            strategy = operation.as_strategy(generation_mode=mode)

            @settings(max_examples=60, deadline=None, derandomize=True,
                      suppress_health_check=list(HealthCheck))  # fmt: skip
            @given(case=strategy)
            def check(case):
                response = case.call()
                assert response.status_code < 500, f"{case.as_curl_command()}: {response.text}"
                assert response.headers["content-type"][0].startswith("application/json")

            check()


def test_the_service_imports_no_more_than_the_dockerfile_installs():
    others = ["scikit-learn", "sklearn", "scipy", "pandas", "pyarrow", "datasets", "matplotlib",
              "seaborn", "accelerate", "onnx", "onnxruntime", "nbformat", "psutil"]  # fmt: skip
    dockerfile = (ROOT / "Dockerfile").read_text("utf-8")
    assert not [name for name in others if f" {name}" in dockerfile]
    code = f"""
import importlib.util, sys
sys.modules |= dict.fromkeys({others})
spec = importlib.util.spec_from_file_location("script", "scripts/flask-deployment.py")
spec.loader.exec_module(importlib.util.module_from_spec(spec))
"""
    out = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert out.returncode == 0, out.stderr
