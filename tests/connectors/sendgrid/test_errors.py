import json
from datetime import datetime, timedelta
from typing import Any

from connectors.base import Misconfigured, Rejected, Unavailable, Uncertain
from connectors.sendgrid import errors
from connectors.sendgrid.connector import SendGrid
from tests.connectors.sendgrid.conftest import KEY
from tests.connectors.sending import outcome

OUTCOMES: dict[str, type] = {
    "400": Rejected,
    "401": Misconfigured,
    "403": Misconfigured,
    "sender_not_verified": Rejected,
    "404": Misconfigured,
    "405": Misconfigured,
    "406": Misconfigured,
    "413": Rejected,
    "415": Rejected,
    "429": Unavailable,
    "500": Uncertain,
    "502": Unavailable,
    "503": Unavailable,
    "504": Uncertain,
}


def test_every_status_has_its_outcome(make_sendgrid, make_email, provider):
    assert [error.code for error in SendGrid.errors] == list(OUTCOMES)
    sendgrid, email = make_sendgrid(), make_email(sender="x@example.com")
    failures = []
    for code, kind in OUTCOMES.items():
        is_sender = code == "sender_not_verified"
        field = "from" if is_sender else "personalizations.0.to"
        body = {"errors": [{"message": "some text", "field": field, "help": None}]}
        provider.answer(403 if is_sender else int(code), json.dumps(body).encode())
        error = outcome(sendgrid, email)
        if (type(error), error.code, error.detail) != (kind, code, f"{field}: some text"):
            failures.append((code, error))
    assert not failures


def test_response_without_a_known_status_or_body_is_classified(make_sendgrid, make_email, provider):
    table: list[tuple[int, bytes, type, str]] = [
        (413, b"<h1>413 Too Large</h1>", Rejected, "<h1>413 Too Large</h1>"),
        (400, b'{"errors": [{"message": "a", "field": null}, 1, {}]}', Rejected, "a;"),
        (400, b'{"errors": []}', Rejected, '{"errors": []}'),
        (400, b'{"errors": {"a": 1}}', Rejected, '{"errors": {"a": 1}}'),
        (400, b"[1]", Rejected, "[1]"),
        (418, b'{"errors": [{"message": "tea", "field": "x"}]}', Rejected, "x: tea"),
        (522, b"", Unavailable, ""),
        (302, b"", Misconfigured, ""),
        (204, b"", Rejected, "unexpected status"),
    ]
    sendgrid = make_sendgrid()
    failures = []
    for status, body, kind, detail in table:
        provider.answer(status, body)
        error = outcome(sendgrid, make_email())
        if (type(error), error.code, error.detail) != (kind, str(status), detail):
            failures.append((status, body, error))
    assert not failures


def test_wait_after_too_many_requests_lasts_until_the_reset(
    make_sendgrid, make_email, provider, monkeypatch
):
    class Clock(datetime):
        @classmethod
        def now(cls, tz: Any = None) -> datetime:
            return datetime.fromtimestamp(1700000001.25, tz)

    monkeypatch.setattr(errors, "datetime", Clock)
    table: list[tuple[dict[str, str], int | None]] = [
        ({"X_RateLimit_Reset": "1700000061"}, 60),
        ({"X_RateLimit_Reset": "1699999999"}, None),
        ({"X_RateLimit_Reset": "99999999999"}, 86400),
        ({"X_RateLimit_Reset": "soon", "Retry_After": "7"}, 7),
        ({"Retry_After": "7"}, 7),
        ({}, None),
    ]
    sendgrid = make_sendgrid()
    body = b'{"errors":[{"field":null,"message":"too many requests"}]}'
    failures = []
    for headers, seconds in table:
        provider.answer(429, body, **headers)
        error = outcome(sendgrid, make_email())
        wait = None if seconds is None else timedelta(seconds=seconds)
        if (error.detail, error.retry_after) != ("too many requests", wait):
            failures.append((headers, error.retry_after))
    assert not failures


def test_error_contains_no_secret_recipient_or_content(make_sendgrid, make_email, provider):
    text = f"{KEY} ann@example.org Ann bob@xn--bcher-kva.example It is 4711 Your code <p>x</p>"
    body = json.dumps({"errors": [{"message": text}]}).encode()
    email = make_email(
        recipient="Ann <ann@example.org>", bcc=("bob@bücher.example",), html="<p>x</p>"
    )
    sendgrid = make_sendgrid()

    details = set()
    for status in (400, 401, 403, 418, 429, 500):
        provider.answer(status, body)
        details.add(outcome(sendgrid, email).detail)

    assert details == {" ".join(["***"] * 7)}


def test_error_about_a_long_message_is_classified(make_sendgrid, make_email, provider):
    provider.answer(400, b'{"errors": [{"message": "no"}]}')

    assert str(outcome(make_sendgrid(), make_email(body="é" * 10_000_000))) == "400: no"
