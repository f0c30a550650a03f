"""waitress in front of the service: slow clients cost no thread, and a stop loses nothing."""

import json
import logging
import os
import signal
import socket
import threading
import time

from apiflask import APIFlask
from waitress import create_server
from waitress.channel import HTTPChannel
from waitress.parser import HTTPRequestParser, ParsingError
from waitress.server import TcpWSGIServer
from waitress.task import ErrorTask, WSGITask

try:
    import resource
except ImportError:  # on Windows
    resource = None

from utils import InputError
from utils.service.api import MAX_REQUESTS
from utils.service.batching import Engine
from utils.service.middleware import HEADERS, MAX_BODY, TOO_LARGE

THREADS = MAX_REQUESTS + 8  # each only waits for the engine; the eight answer what is refused
RECEIVE_SECONDS = 30  # for a request to arrive whole, and for a connection to be idle
STALLED_SECONDS = 5  # without taking any of an answer: such a client makes room for others
STOP_SECONDS = 20  # of a whole stop, after SIGTERM: containers are killed after 30
MAX_CONNECTIONS = 1000
MOST_QUEUED = 8  # requests of one connection: one read may hold hundreds, sent ahead
OTHER_FILES = 64  # descriptors that the process needs beside its connections
BACK_OFF_SECONDS = 1.0  # after a connection that could not be accepted
log = logging.getLogger("reviews")


class Task(WSGITask):
    """An answer that ends its connection: once the server stops, or as the last before a cut."""

    def build_response_header(self):
        channel = self.channel
        if channel.server.stopping or (channel.cut and len(channel.requests) == 1):
            self.set_close_on_finish()
        return super().build_response_header()


class JsonErrorTask(ErrorTask):
    """waitress's own refusals, of a large body or of what is not HTTP, as JSON like all others.

    No route sees these requests, so they are logged here, and not counted.
    """

    def execute(self):
        error = self.request.error
        message = TOO_LARGE if error.code == 413 else error.reason
        body = json.dumps({"message": message, "detail": {"http": error.body}}).encode()
        self.status = f"{error.code} {error.reason}"
        self.content_length = len(body)
        headers = {"Content-Type": "application/json", **HEADERS}
        self.response_headers.extend(headers.items())
        self.set_close_on_finish()
        self.write(body)
        log.info("refused before any route: %d", error.code)


class Parser(HTTPRequestParser):
    """Refuses what two servers in a row may read as different requests (RFC 9112, section 6.3)."""

    def parse_header(self, header_plus):
        super().parse_header(header_plus)
        if self.chunked and "CONTENT_LENGTH" in self.headers:
            raise ParsingError("Content-Length and Transfer-Encoding exclude each other")
        if "TRANSFER_ENCODING" in self.headers:  # which waitress reads, and removes, in HTTP/1.1
            raise ParsingError("Transfer-Encoding is of HTTP/1.1")


class Channel(HTTPChannel):
    """A connection that closes where a request takes too long to arrive, byte by byte even.

    Where more than MOST_QUEUED requests wait on it, the first of them are answered, the others
    are cut, no more is read, and it closes.
    """

    parser_class = Parser
    task_class = Task
    error_task_class = JsonErrorTask
    cut = False
    _begun = 0.0

    def readable(self):
        return not self.cut and super().readable()

    def received(self, data):
        if self.request is None:
            self._begun = time.time()
        received = super().received(data)
        with self.requests_lock:
            if len(self.requests) > MOST_QUEUED:
                self.cut = True
                for request in self.requests[MOST_QUEUED:]:
                    request.close()
                del self.requests[MOST_QUEUED:]
        return received

    def close_if_slow(self, now: float) -> None:
        """Called by the server every few seconds; also where an answer is not taken."""
        if self.request is not None and not self.requests and now - self._begun > RECEIVE_SECONDS:
            self.will_close = True
        if self.waits_for_client(now, RECEIVE_SECONDS):
            self.handle_close()  # at once: it would wait to send what is left

    def waits_for_client(self, now: float, seconds: float) -> bool:
        """Whether an answer is ready, of which the client has taken nothing for some seconds."""
        return bool(self.total_outbufs_len) and now - self.last_activity > seconds


def listen(app: APIFlask, host: str, port: int) -> TcpWSGIServer:
    """A waitress server at one address, bounded in every direction; port 0 takes a free one.

    Raises InputError where the address cannot be listened at.
    """
    logging.getLogger("waitress").setLevel(logging.WARNING)  # at INFO it logs paths as they came
    logging.getLogger("waitress.queue").setLevel(logging.ERROR)  # bounded by the application
    connections = most_connections()
    try:
        address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][4][0]
        server = create_server(
            app,
            host=address,  # one, where a name has several
            port=port,
            ident=None,
            threads=THREADS,
            connection_limit=connections + 2,  # beside the listening socket and the trigger
            backlog=MAX_CONNECTIONS,
            channel_timeout=RECEIVE_SECONDS,
            cleanup_interval=RECEIVE_SECONDS / 6,
            max_request_header_size=16 * 1024,
            max_request_body_size=MAX_BODY + 1,  # the first size that it refuses
            channel_request_lookahead=1,  # reads on while it works: so it sees who hangs up
            asyncore_use_poll=True,
        )
    except (OSError, OverflowError, ValueError) as error:
        raise InputError(f"{host}:{port} cannot be listened at: {error}.") from error
    server.channel_class = Channel
    server.stopping = False
    maintain, readable, accept = server.maintenance, server.readable, server.accept
    accept_again = 0.0

    def maintenance(now: float) -> None:
        maintain(now)
        for channel in list(server.active_channels.values()):
            channel.close_if_slow(now)

    def can_accept() -> bool:
        if time.monotonic() < accept_again:
            return False
        if len(server.active_channels) >= connections - 1:
            _close_quietest(server)
        return readable()

    def accept_or_back_off():
        nonlocal accept_again
        try:
            return accept()
        except OSError:
            # Without a pause the loop would try again at once, and for ever.
            accept_again = time.monotonic() + BACK_OFF_SECONDS
            raise

    server.maintenance, server.readable, server.accept = maintenance, can_accept, accept_or_back_off
    return server


def most_connections() -> int:
    """MAX_CONNECTIONS, or as many as the process may have files beside its own.

    Raises InputError where that is too few to serve anybody.
    """
    if resource is None:  # on Windows, which has no such limit
        return MAX_CONNECTIONS
    files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if files == resource.RLIM_INFINITY:
        return MAX_CONNECTIONS
    if files < OTHER_FILES + 8:
        raise InputError(f"The process may open {files} files, and the service needs "
                         f"{OTHER_FILES + 8}: raise the limit (ulimit -n).")  # fmt: skip
    return min(MAX_CONNECTIONS, files - OTHER_FILES)


def _close_quietest(server: TcpWSGIServer) -> None:
    """Make room for a new connection: the one closes that has waited longest without a request.

    Else a thousand idle connections would keep out everybody, the health check too. One that does
    not take its answer is as idle.
    """
    now = time.time()
    channels = list(server.active_channels.values())
    stalled = [c for c in channels if c.waits_for_client(now, STALLED_SECONDS)]
    quiet = [c for c in channels if not (c.requests or c.total_outbufs_len or c.will_close)]
    oldest = min(stalled + quiet, key=lambda channel: channel.last_activity, default=None)
    if oldest in stalled:
        oldest.handle_close()
    elif oldest:
        oldest.will_close = True


def serve(server: TcpWSGIServer, engine: Engine) -> None:
    """Start the engine, answer until SIGTERM or Ctrl+C, then answer what was accepted, and return.

    All that takes STOP_SECONDS at most: what is not answered by then is cut off. Where a batch is
    still being computed after that, for nobody, the process ends with it.
    """
    end = 0.0

    def left() -> float:
        return max(0.0, end - time.monotonic())

    def stop(*_) -> None:
        nonlocal end
        end = time.monotonic() + STOP_SECONDS
        for name in (signal.SIGTERM, signal.SIGINT):
            signal.signal(name, signal.SIG_DFL)  # a second one ends it at once
        server.stopping = True
        # A lock taken here might be held by the very code that the signal interrupts.
        threading.Thread(target=finish, daemon=True).start()

    def finish() -> None:
        log.info("stopping: what was accepted is answered first")
        engine.close()
        server.trigger.pull_trigger(lambda: _stop_listening(server))
        quiet = 0
        while quiet < 5 and left():  # a quarter of a second without any work
            quiet = 0 if _busy(server) else quiet + 1
            time.sleep(0.05)
        server.trigger.pull_trigger(lambda: server.asyncore.close_all(server._map))

    for name in (signal.SIGTERM, signal.SIGINT):
        signal.signal(name, stop)
    host = server.effective_host
    where = f"[{host}]" if ":" in host else host
    warm_up = threading.Thread(target=engine.start, daemon=True)
    warm_up.start()  # ready once it is warm
    log.info("listening on http://%s:%s", where, server.effective_port)
    server.run()
    log.info("stopped")
    warm_up.join(left())
    if warm_up.is_alive() or not engine.finished(left()):
        logging.shutdown()
        os._exit(0)  # Python would end a thread inside torch, which aborts the process


def _stop_listening(server: TcpWSGIServer) -> None:
    """Accept whoever is connected by now, and close the address.

    A client that connects between the last accept and the close, some microseconds, is reset. None
    of its request was read: it can connect again, and is then refused like all who come later.
    """
    for _ in range(MAX_CONNECTIONS):
        known = len(server.active_channels)
        server.handle_accept()
        if len(server.active_channels) == known:
            break
    server.asyncore.dispatcher.close(server)


def _busy(server) -> bool:
    """Whether a request is being answered, or an answer is not sent yet."""
    channels = list(server.active_channels.values())
    return any(channel.requests or channel.total_outbufs_len for channel in channels)
