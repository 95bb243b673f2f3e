import base64
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, HTTPServer
from queue import Queue
from typing import Any
from urllib.parse import urlencode
from xml.etree import ElementTree as ET

import pytest

from connectors.base import MalformedWebhook, UnsignedWebhook, UnverifiedWebhook, WebhookRequest
from connectors.m2m.connector import M2m
from tests.connectors.m2m.wire import KEY, PAIR

OLD, NEW = "old-secret-of-ours", "new-secret-of-ours"
NOON = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)
MESSAGE = (("msid", "79161234567"), ("message", "Hi"))
WEBHOOK = {**KEY, "sender": "+79160000000", "webhook_secrets": (NEW, OLD)}
BY_LOGIN = {**WEBHOOK, "webhook_login": "mts"}


def call(
    query: Any = (("secret", NEW), ("msid", "79161234567"), ("message", "Да & нет")),
    *,
    method: str = "GET",
    headers: dict[str, str] | None = None,
    received_at: datetime = NOON,
) -> WebhookRequest:
    url = f"https://postroom.test/api/webhooks/mts/inbound?{urlencode(query)}"
    return WebhookRequest("inbound", method, url, headers or {}, b"", received_at)


def basic(credentials: str, scheme: str = "Basic") -> dict[str, str]:
    encoded = base64.b64encode(credentials.encode()).decode()
    return {"authorization": f"{scheme} {encoded}"}


@pytest.fixture
def m2m(make_m2m) -> Callable[..., M2m]:
    return lambda **settings: make_m2m("https://mts.test", **settings)


def test_a_message_from_outside_is_read_and_answered_as_mts_expects(m2m):
    received = m2m(**WEBHOOK).receive(call())

    [inbound] = received.items
    assert (inbound.channel, inbound.sender, inbound.recipient, inbound.body) == (
        "sms",
        "+79161234567",
        "+79160000000",
        "Да & нет",
    )
    assert inbound.metadata == {}
    assert (received.response.status, received.response.content_type) == (
        200,
        "text/xml; charset=utf-8",
    )
    result = ET.fromstring(received.response.body)
    assert [(part.tag, part.text) for part in result.iter()] == [
        ("{http://mcommunicator.ru/M2M/}OperationResult", None),
        ("{http://mcommunicator.ru/M2M/}code", "0"),
        ("{http://mcommunicator.ru/M2M/}description", "OK"),
    ]


@pytest.mark.parametrize("secret", [NEW, OLD])
def test_both_secrets_hold_while_one_replaces_the_other(m2m, secret):
    assert m2m(**WEBHOOK).receive(call((("secret", secret), *MESSAGE))).items
    assert m2m(**BY_LOGIN).receive(call(MESSAGE, headers=basic(f"mts:{secret}"))).items
    assert m2m(**BY_LOGIN).receive(call(MESSAGE, headers=basic(f"mts:{secret}", "basic"))).items


@pytest.mark.parametrize(
    ("settings", "query", "headers", "error"),
    [
        (WEBHOOK, MESSAGE, {}, UnsignedWebhook),
        (WEBHOOK, MESSAGE, basic(f"mts:{NEW}"), UnsignedWebhook),
        (WEBHOOK, (("secret", ""), *MESSAGE), {}, UnverifiedWebhook),
        (WEBHOOK, (("secret", "wröng"), *MESSAGE), {}, UnverifiedWebhook),
        (WEBHOOK, (("secret", NEW[:-1]), *MESSAGE), {}, UnverifiedWebhook),
        (WEBHOOK, (("secret", NEW), ("secret", "wrong"), *MESSAGE), {}, UnverifiedWebhook),
        (WEBHOOK, (("secret", "wrong"), ("secret", NEW), *MESSAGE), {}, UnverifiedWebhook),
        (WEBHOOK, (("secret", "wrong"), ("nonsense", "1")), {}, UnverifiedWebhook),
        (BY_LOGIN, MESSAGE, {}, UnsignedWebhook),
        (BY_LOGIN, (("secret", NEW), *MESSAGE), {}, UnsignedWebhook),
        (BY_LOGIN, MESSAGE, {"authorization": f"Bearer {NEW}"}, UnsignedWebhook),
        (BY_LOGIN, MESSAGE, basic(f"mts:{NEW}x"), UnverifiedWebhook),
        (BY_LOGIN, MESSAGE, basic(f"other:{NEW}"), UnverifiedWebhook),
        (BY_LOGIN, MESSAGE, basic(NEW), UnverifiedWebhook),
        (BY_LOGIN, MESSAGE, {"authorization": "Basic"}, UnverifiedWebhook),
        (BY_LOGIN, MESSAGE, {"authorization": "Basic %%%"}, UnverifiedWebhook),
        (BY_LOGIN, MESSAGE, {"authorization": "Basic ёё"}, UnverifiedWebhook),
    ],
)
def test_a_call_without_the_secret_is_not_taken(m2m, settings, query, headers, error):
    with pytest.raises(error) as raised:
        m2m(**settings).receive(call(query, headers=headers))

    assert NEW not in str(raised.value)


@pytest.mark.parametrize(
    ("method", "fields"),
    [
        ("POST", {"msid": "79161234567", "message": "Hi"}),
        ("GET", {"message": "Hi"}),
        ("GET", {"msid": " ", "message": "Hi"}),
        ("GET", {"msid": "79161234567"}),
        ("GET", {}),
    ],
)
def test_a_call_that_mts_would_not_make_is_malformed(m2m, method, fields):
    query = [("secret", NEW), *fields.items()]

    with pytest.raises(MalformedWebhook):
        m2m(**WEBHOOK).receive(call(query, method=method))


@pytest.mark.parametrize(
    ("msid", "sender"), [("79161234567", "+79161234567"), ("900", "900"), ("MTS", "MTS")]
)
def test_numbers_get_their_plus_and_names_stay(m2m, msid, sender):
    query = (("secret", NEW), ("msid", msid), ("message", ""))

    [inbound] = m2m(**WEBHOOK).receive(call(query)).items

    assert (inbound.sender, inbound.body) == (sender, "")


def test_what_else_the_call_says_is_kept_without_the_secret(m2m):
    query = (("secret", NEW), *MESSAGE, ("operator", "mts"))

    [inbound] = m2m(**WEBHOOK).receive(call(query)).items

    assert inbound.metadata == {"operator": "mts"}
    assert NEW not in str(inbound)


def test_the_same_text_sent_again_is_another_message(m2m):
    connector = m2m(**WEBHOOK)

    first, again = (
        connector.receive(call(received_at=at)).items[0]
        for at in (NOON, NOON.replace(microsecond=1))
    )

    assert first.key != again.key


@pytest.mark.parametrize(
    ("settings", "kinds"), [(WEBHOOK, {"inbound"}), (BY_LOGIN, {"inbound"}), (PAIR, set())]
)
def test_without_a_secret_there_is_no_webhook(m2m, settings, kinds):
    assert m2m(**settings).webhooks == kinds


@pytest.fixture
def calls() -> Iterator[tuple[str, "Queue[WebhookRequest]"]]:
    """The address of a webhook, and the calls that it got."""
    queue: Queue[WebhookRequest] = Queue()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            headers = {name.lower(): value for name, value in self.headers.items()}
            url = f"http://localhost{self.path}"
            queue.put(WebhookRequest("inbound", "GET", url, headers, b"", datetime.now(UTC)))
            self.send_response(204)
            self.end_headers()

        def log_message(self, *args: Any) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/inbound", queue
        server.shutdown()
        thread.join()


@pytest.mark.parametrize(
    ("settings", "query", "credentials"),
    [(WEBHOOK, f"?secret={NEW}", {}), (BY_LOGIN, "", {"login": "mts", "password": NEW})],
)
def test_the_sandbox_calls_as_mts_does(at_sandbox, sandbox, calls, settings, query, credentials):
    address, made = calls
    incoming = {
        "url": address + query,
        "msid": "79161234567",
        "message": "Да & нет?",
        **credentials,
    }

    sandbox.session.post(f"{sandbox.http_url}/m2m/_inbound", json=incoming, timeout=30)

    [inbound] = at_sandbox(**settings).receive(made.get(timeout=30)).items
    assert (inbound.sender, inbound.body) == ("+79161234567", "Да & нет?")
