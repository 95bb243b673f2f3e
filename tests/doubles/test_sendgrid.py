import base64
import json
from collections.abc import Iterator
from email import message_from_bytes
from typing import Any

import pytest
import requests
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import load_der_public_key

from sandbox.client import RunningSandbox
from tests.doubles.sendgrid import API_KEY
from tests.doubles.sendgrid_webhooks import PUBLIC_KEY

MAIL: dict[str, Any] = {
    "personalizations": [{"to": [{"email": "ann@example.org"}]}],
    "from": {"email": "shop@example.com"},
    "subject": "Hi",
    "content": [{"type": "text/plain", "value": "Hello"}],
}
HEADERS = {"Authorization": f"Bearer {API_KEY}"}
JSON_HEADERS = {**HEADERS, "Content-Type": "application/json"}
DELIVERY_EVENTS = ["processed", "deferred", "delivered", "bounce", "dropped"]
ANN = {"email": "ann@example.org"}


def send(
    sandbox: RunningSandbox, changes: dict[str, Any] | None = None, **arguments: Any
) -> requests.Response:
    """Sends the mail with some fields changed, or without those that are None."""
    mail = {name: value for name, value in {**MAIL, **(changes or {})}.items() if value is not None}
    return sandbox.session.request(
        arguments.pop("method", "POST"),
        f"{sandbox.http_url}/sendgrid{arguments.pop('path', '/v3/mail/send')}",
        timeout=30,
        **{"headers": HEADERS, "json": mail, **arguments},
    )


def test_a_mail_is_taken_and_shown(sandbox: RunningSandbox) -> None:
    response = send(sandbox, {"custom_args": {"order": "7"}})

    assert (response.status_code, response.content) == (202, b"")
    [record] = sandbox.received(kind="sendgrid", to="ann@example.org")
    assert record["message_id"] == response.headers["X-Message-Id"]
    assert (record["subject"], record["text"]) == ("Hi", "Hello")
    assert record["custom_args"] == {"order": "7"}


def test_in_sandbox_mode_a_mail_is_checked_and_gets_no_id(sandbox: RunningSandbox) -> None:
    response = send(sandbox, {"mail_settings": {"sandbox_mode": {"enable": True}}})

    assert response.status_code == 200
    assert "X-Message-Id" not in response.headers


@pytest.mark.parametrize(
    ("arguments", "status", "said"),
    [
        ({"headers": {}}, 401, "authorization grant is invalid"),
        ({"headers": {"Authorization": f"Basic {API_KEY}"}}, 401, "authorization grant"),
        ({"headers": {"Authorization": f"Bearer {API_KEY}x"}}, 401, "authorization grant"),
        ({"path": "/v3/mail/send/"}, 404, "Not Found"),
        ({"path": ""}, 404, "Not Found"),
        ({"method": "PUT"}, 405, "method not allowed"),
        ({"json": None, "data": "to=ann"}, 415, "Unsupported Media Type"),
        ({"headers": {**HEADERS, "Accept": None}}, 406, "Not Acceptable"),
        ({"headers": JSON_HEADERS, "data": b"\xff", "json": None}, 415, "Invalid UTF8 in request"),
        ({"headers": JSON_HEADERS, "data": "{", "json": None}, 400, "Bad Request"),
        ({"json": [MAIL]}, 400, "Input should be a valid dictionary"),
    ],
)
def test_what_is_no_request_for_the_account_is_refused(
    sandbox: RunningSandbox, arguments: dict[str, Any], status: int, said: str
) -> None:
    response = send(sandbox, **arguments)

    assert response.status_code == status
    [error] = response.json()["errors"]
    assert set(error) == {"message", "field", "help"}
    assert said in error["message"]
    assert sandbox.received(outcome="*") == []


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"personalizations": None}, "personalizations"),
        ({"personalizations": []}, "personalizations"),
        ({"personalizations": [{}]}, "personalizations.0.to"),
        ({"personalizations": [{"to": []}]}, "personalizations.0.to"),
        ({"personalizations": [{"to": [{"email": "ann"}]}]}, "personalizations.0.to.0.email"),
        (
            {"personalizations": [{"to": [{"email": "Ann <a@b.c>"}]}]},
            "personalizations.0.to.0.email",
        ),
        ({"personalizations": [{"to": [ANN], "cc": []}]}, "personalizations.0.cc"),
        (
            {"personalizations": [{"to": [ANN], "bcc": [{"email": "ANN@example.org"}]}]},
            "personalizations.0",
        ),
        ({"personalizations": [{"to": [ANN], "tp": 1}]}, "personalizations.0.tp"),
        ({"from": None}, "from"),
        ({"from": {"email": "x"}}, "from.email"),
        ({"subject": None}, "subject"),
        ({"subject": ""}, "subject"),
        ({"content": None}, "content"),
        ({"content": []}, "content"),
        ({"content": [{"type": "text/plain", "value": ""}]}, "content.0.value"),
        (
            {
                "content": [
                    {"type": "text/html", "value": "x"},
                    {"type": "text/plain", "value": "x"},
                ]
            },
            None,
        ),
        ({"reply_to": {"name": "x"}}, "reply_to.email"),
        ({"attachments": []}, "attachments"),
        ({"attachments": [{"content": "YQ==\n", "filename": "a"}]}, "attachments.0.content"),
        ({"attachments": [{"content": "", "filename": "a"}]}, "attachments.0.content"),
        ({"attachments": [{"content": "YQ=="}]}, "attachments.0.filename"),
        (
            {"attachments": [{"content": "YQ==", "filename": "a", "type": "a/b; c=d"}]},
            "attachments.0.type",
        ),
        (
            {"attachments": [{"content": "YQ==", "filename": "a", "disposition": "x"}]},
            "attachments.0.disposition",
        ),
        ({"headers": {"x-sg-id": "1"}}, "headers.x-sg-id.[key]"),
        ({"headers": {"Reply-To": "a@b.c"}}, "headers.Reply-To.[key]"),
        ({"headers": {"X-Number": 1}}, "headers.X-Number"),
        ({"categories": [str(n) for n in range(11)]}, "categories"),
        ({"categories": ["a", "a"]}, "categories"),
        ({"custom_args": {"n": 1}}, "custom_args.n"),
        ({"custom_args": {"n": "x" * 10_000}}, "custom_args"),
        ({"send_at": 99999999999}, "send_at"),
        ({"send_at": "1700000000"}, "send_at"),
        (
            {"mail_settings": {"sandbox_mode": {"enable": "yes"}}},
            "mail_settings.sandbox_mode.enable",
        ),
        ({"unknown": 1}, "unknown"),
    ],
)
def test_what_is_no_valid_mail_is_refused_by_its_field(
    sandbox: RunningSandbox, changes: dict[str, Any], field: str | None
) -> None:
    response = send(sandbox, changes)

    assert response.status_code == 400
    assert field in [error["field"] for error in response.json()["errors"]]
    assert sandbox.received(outcome="*") == []


def test_only_verified_senders_are_taken(sandbox: RunningSandbox) -> None:
    response = send(sandbox, {"from": {"email": "shop@example.com.example"}})

    assert response.status_code == 403
    assert response.json()["errors"][0]["field"] == "from"


def test_a_mail_above_30_mb_is_too_large(sandbox: RunningSandbox) -> None:
    largest = "x" * (30 * 1024 * 1024 - 400)

    assert send(sandbox, {"content": [{"type": "text/plain", "value": largest}]}).ok
    too_large = send(sandbox, {"content": [{"type": "text/plain", "value": largest + "x" * 400}]})
    assert too_large.status_code == 413
    assert too_large.headers["Content-Type"] == "text/html"


def test_it_misbehaves_by_rule_in_its_own_words(sandbox: RunningSandbox) -> None:
    body = {"errors": [{"field": None, "message": "too many requests"}]}
    sandbox.control("ann@example.org", {"status": 429, "body": body}, kind="sendgrid", times=1)

    assert (send(sandbox).status_code, send(sandbox).status_code) == (429, 202)


@pytest.fixture
def webhook(sandbox: RunningSandbox, listener) -> Iterator[Any]:
    """The listener, to which the account has its events and its incoming mail sent."""
    address = listener.url.removeprefix("http://")
    urls = {
        "url": f"{listener.url}/status",
        "inbound_url": f"http://grid:p%40ss@{address}/inbound",
    }
    configure(sandbox, urls)
    yield listener
    configure(sandbox, {})


def configure(sandbox: RunningSandbox, urls: dict[str, str]) -> None:
    response = sandbox.session.put(f"{sandbox.http_url}/sendgrid/_webhook", json=urls, timeout=30)
    assert response.status_code == 200


def assert_signed(call: Any) -> None:
    signature = base64.b64decode(call.headers["x-twilio-email-event-webhook-signature"])
    timestamp = call.headers["x-twilio-email-event-webhook-timestamp"]
    key = load_der_public_key(base64.b64decode(PUBLIC_KEY))
    assert isinstance(key, ec.EllipticCurvePublicKey)
    key.verify(signature, timestamp.encode() + call.body, ec.ECDSA(SHA256()))


@pytest.mark.parametrize(
    ("mailbox", "names"),
    [
        ("ann", ["processed", "delivered"]),
        ("bounce", ["processed", "bounce"]),
        ("blocked+7", ["processed", "bounce"]),
        ("dropped", ["dropped"]),
        ("deferred", ["processed", "deferred", "delivered"]),
        ("engaged", ["processed", "delivered", "open", "click"]),
        ("spamreport", ["processed", "delivered", "spamreport"]),
        ("unsubscribe", ["processed", "delivered", "unsubscribe"]),
    ],
)
def test_it_tells_what_happens_to_a_mail(
    sandbox: RunningSandbox, webhook, mailbox: str, names: list[str]
) -> None:
    to = [{"to": [{"email": f"{mailbox}@example.org"}]}]
    marks = {"custom_args": {"order": "7"}, "categories": ["news"]}

    message_id = send(sandbox, {"personalizations": to, **marks}).headers["X-Message-Id"]

    call = webhook.next_call()
    assert_signed(call)
    assert (call.path, call.body[-2:]) == ("/status", b"\r\n")
    events = json.loads(call.body)
    assert [event["event"] for event in events] == names
    assert {event["sg_message_id"].partition(".")[0] for event in events} == {message_id}
    assert len({event["sg_event_id"] for event in events}) == len(events)
    for event in events:
        assert (event["order"], event["category"]) == ("7", ["news"])
        assert event["email"] == f"{mailbox}@example.org"
        assert ("smtp-id" in event) == (event["event"] in DELIVERY_EVENTS)


def test_only_a_bounce_of_the_recipient_has_the_type_bounce(
    sandbox: RunningSandbox, webhook
) -> None:
    recipients = [{"to": [{"email": f"{name}@example.org"} for name in ("bounce", "blocked")]}]

    send(sandbox, {"personalizations": recipients})

    events = json.loads(webhook.next_call().body)
    assert [event.get("type") for event in events] == [None, "bounce", None, "blocked"]


def test_what_is_refused_or_only_checked_has_no_events(sandbox: RunningSandbox, webhook) -> None:
    sandbox.control("ann@example.org", {"status": 500}, times=1)

    assert send(sandbox).status_code == 500
    assert send(sandbox, {"mail_settings": {"sandbox_mode": {"enable": True}}}).status_code == 200
    message_id = send(sandbox).headers["X-Message-Id"]

    assert message_id in webhook.next_call().body.decode()


MIME = """\
From: Ann <ann@example.org>
To: shop@example.com
Subject: =?utf-8?q?Gr=C3=BC=C3=9Fe?=
MIME-Version: 1.0
Content-Type: multipart/mixed; boundary=b

--b
Content-Type: text/plain; charset=iso-8859-1
Content-Transfer-Encoding: quoted-printable

caf=E9
--b
Content-Type: application/pdf; name=a.pdf
Content-Disposition: attachment; filename=a.pdf
Content-Transfer-Encoding: base64

AAEC
--b--
"""
ENVELOPE = {"from": "ann@bounces.example.org", "to": ["shop@in.example.com"]}


def test_a_mail_comes_in_taken_apart(sandbox: RunningSandbox, webhook) -> None:
    call = receive(sandbox, webhook, raw=False)

    parts = parts_of(call)
    assert parts["text"] == b"caf\xe9"
    assert json.loads(parts["charsets"])["text"] == "iso-8859-1"
    assert parts["subject"] == "Grüße".encode()
    assert parts["headers"].startswith(b"From: Ann <ann@example.org>\nTo: shop@example.com\n")
    assert json.loads(parts["envelope"]) == ENVELOPE
    assert parts["attachments"] == b"1"
    assert json.loads(parts["attachment-info"])["attachment1"]["filename"] == "a.pdf"
    assert parts["attachment1"] == b"\0\1\2"
    assert "html" not in parts
    assert "email" not in parts


def test_a_mail_comes_in_as_it_is(sandbox: RunningSandbox, webhook) -> None:
    parts = parts_of(receive(sandbox, webhook, raw=True))

    assert parts["email"] == MIME.encode()
    assert json.loads(parts["envelope"]) == ENVELOPE
    assert "headers" not in parts


def receive(sandbox: RunningSandbox, webhook: Any, *, raw: bool) -> Any:
    """The call that an incoming mail makes."""
    mail = {"mime": MIME, "envelope": ENVELOPE, "raw": raw}
    url = f"{sandbox.http_url}/sendgrid/_inbound"
    assert sandbox.session.post(url, json=mail, timeout=30).status_code == 202
    call = webhook.next_call()
    assert call.path == "/inbound"
    assert call.headers["authorization"] == "Basic " + base64.b64encode(b"grid:p@ss").decode()
    assert_signed(call)
    return call


def parts_of(call: Any) -> dict[str, bytes]:
    head = f"Content-Type: {call.headers['content-type']}\r\n\r\n".encode()
    parts: Any = message_from_bytes(head + call.body).get_payload()
    return {
        part.get_param("name", header="content-disposition"): part.get_payload(decode=True)
        for part in parts
    }


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("PUT", "_webhook", {"urls": []}),
        ("PUT", "_webhook", {"url": None}),
        ("POST", "_inbound", {}),
        ("POST", "_inbound", {"mime": MIME, "envelope": {**ENVELOPE, "to": []}}),
        ("POST", "_inbound", {"mime": MIME, "envelope": ENVELOPE}),
    ],
)
def test_what_cannot_be_set_or_received_is_refused(
    sandbox: RunningSandbox, method: str, path: str, body: Any
) -> None:
    url = f"{sandbox.http_url}/sendgrid/{path}"

    assert sandbox.session.request(method, url, json=body, timeout=30).status_code == 400
