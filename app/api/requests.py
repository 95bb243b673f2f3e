"""Request ids, the request log and security headers."""

import re
import secrets
import time

import structlog
from flask import Flask, Response, g, request

HEADER = "X-Request-ID"
log = structlog.stdlib.get_logger(__name__)


def init_app(app: Flask) -> None:
    """Add them to every request of `app`."""

    @app.before_request
    def begin() -> None:
        given = request.headers.get(HEADER, "")
        g.started = time.monotonic()
        g.request_id = given if re.fullmatch(r"[\w.:-]{1,64}", given, re.ASCII) else _new_id()
        structlog.contextvars.bind_contextvars(request_id=g.request_id)

    @app.after_request
    def end(response: Response) -> Response:
        response.headers[HEADER] = g.request_id
        response.headers["X-Content-Type-Options"] = "nosniff"
        response.headers["Referrer-Policy"] = "no-referrer"
        response.headers.setdefault("Cache-Control", "no-store")
        response.headers.setdefault(
            "Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'"
        )
        # The rule instead of the URL, which may contain a recipient.
        log.info(
            "request",
            method=request.method,
            route=request.url_rule.rule if request.url_rule else None,
            status=response.status_code,
            client=g.client.name if "client" in g else None,
            duration_ms=round((time.monotonic() - g.started) * 1000, 1),
        )
        return response

    @app.teardown_request
    def unbind(_error: BaseException | None) -> None:
        structlog.contextvars.unbind_contextvars("request_id")


def _new_id() -> str:
    return secrets.token_hex(8)
