"""What every request passes: early refusals, the key, security headers, a log without reviews."""

import hmac
import logging
import os
import re
import threading
import time
import traceback
from collections.abc import Callable
from urllib.parse import urlsplit

from apiflask import APIFlask, HTTPError, HTTPTokenAuth
from flask import Response, g, request
from werkzeug.exceptions import BadRequest

from utils import InputError
from utils.service.batching import Engine
from utils.service.fairness import Shares

KEY = "REVIEWS_API_KEY"  # the environment variable with the key, where one is asked for
LOOPBACK = ("localhost", "127.0.0.1", "::1")
MAX_BODY = 64 * 1024
MAX_OF_CLIENT = 40  # POST requests at once, by its address: others find a slot, too
TOO_LARGE = f"The body is over {MAX_BODY:,} bytes: send fewer reviews."

# The page needs its own script and style, and nothing from elsewhere.
HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; "
    "connect-src 'self'; img-src 'self'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
}
log = logging.getLogger("reviews")


class OneLine(logging.Formatter):
    """Log messages in one line each, whatever characters a request's path holds."""

    def formatMessage(self, record):
        message = super().formatMessage(record)
        return "".join(c if c.isprintable() else repr(c)[1:-1] for c in message)


class QuietFlask(APIFlask):
    """A Flask application whose log of exceptions holds no review."""

    def log_exception(self, exc_info) -> None:
        """Log the kind of an exception and where it arose; its message may quote a text."""
        where = "".join(traceback.format_tb(exc_info[2]))
        log.error("%s at %s\n%s", exc_info[0].__name__, request.path, where)


def guard(
    app: APIFlask,
    engine: Engine,
    slots: threading.BoundedSemaphore,
    hosts: list[str] | None = None,
) -> None:
    """Refuse early what no route could take; send headers, count and log every answer.

    Each POST takes one of the `slots` until it is answered; where none is free, or its client has
    MAX_OF_CLIENT, it is refused before its body is parsed, so that an overload costs little.

    `hosts` are those by which the service may be called, all where it is None: else a page from
    elsewhere could have its own name lead here, and read the answers. Health checks, which call a
    machine by its address, are not asked.
    """
    app.config["MAX_CONTENT_LENGTH"] = MAX_BODY
    # With FLASK_DEBUG set, exceptions would pass on to a log that quotes them.
    app.config["PROPAGATE_EXCEPTIONS"] = False
    metrics, shares = engine.metrics, Shares(MAX_OF_CLIENT)

    @app.before_request
    def refuse_early():
        g.started = time.perf_counter()
        known = hosts is None or _host_name(request.headers.get("Host", "")) in hosts
        if not known and not request.path.startswith("/health/"):
            raise HTTPError(400, "The service is not called by this name: see --allowed-host.")
        if request.method == "POST" and request.url_rule:
            if not shares.take(request.remote_addr):
                metrics.refused.inc()
                raise HTTPError(429, "Too many requests of yours at once.",
                                headers={"Retry-After": "1"})  # fmt: skip
            g.has_share = True
            if not slots.acquire(blocking=False):
                metrics.refused.inc()
                raise HTTPError(429, "Too many requests at once.", headers={"Retry-After": "1"})
            g.has_slot = True
            if (request.content_length or 0) > MAX_BODY:
                raise HTTPError(413, TOO_LARGE)
            if not request.is_json:
                raise HTTPError(415, "Send JSON, with Content-Type: application/json.")
            try:
                request.get_json()
            except (BadRequest, RecursionError) as error:
                text = "The body is no JSON that can be read, or it gives a key twice."
                raise HTTPError(400, text) from error

    @app.teardown_request
    def give_slot_back(_: BaseException | None) -> None:
        if g.pop("has_slot", False):
            slots.release()
        if g.pop("has_share", False):
            shares.give_back(request.remote_addr)

    @app.after_request
    def finish(response: Response) -> Response:
        response.headers.update(HEADERS)
        if not request.path.startswith("/static/"):
            response.headers["Cache-Control"] = "no-store"
        route = request.url_rule.rule if request.url_rule else "other"
        seconds = time.perf_counter() - g.started
        metrics.requests.labels(route, response.status_code).inc()
        metrics.seconds.labels(route).observe(seconds)
        # Neither the body nor the query: reviews are nobody's business.
        log.info("%s %s %d %.0f ms", request.method, route, response.status_code, 1000 * seconds)
        return response


def _host_name(header: str) -> str:
    """The name or address in a Host header, without its port."""
    try:
        return urlsplit(f"//{header}").hostname or ""
    except ValueError:
        return ""


def key_check(app: APIFlask) -> Callable:
    """A decorator of the routes that ask for the key; it does nothing where none is set.

    Raises InputError where it is set to what no client could send.
    """
    key = os.environ.get(KEY)
    if key is None:
        return lambda view: view
    if not re.fullmatch(r"[A-Za-z0-9._~+/-]+=*", key):
        raise InputError(f"{KEY} is empty, or has other characters than letters, digits and "
                         "._~+/- (and = at its end): set another, or unset it.")  # fmt: skip
    auth = HTTPTokenAuth(description=f"The value of {KEY}.")

    @auth.verify_token
    def verify(token: str) -> bool:
        return hmac.compare_digest(token.encode(), key.encode())

    return app.auth_required(auth)
