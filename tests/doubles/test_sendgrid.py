import base64
import json
from typing import Any

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
ANN = {"email": "ann@example.org"}


def send(
    sandbox: RunningSandbox, changes: dict[str, Any] | None = None, **arguments: Any
) -> requests.Response:
    """Send a valid mail with changes; fields set to None are left out."""
    mail = {name: value for name, value in {**MAIL, **(changes or {})}.items() if value is not None}
    return sandbox.session.request(
        arguments.pop("method", "POST"),
        f"{sandbox.http_url}/sendgrid{arguments.pop('path', '/v3/mail/send')}",
        timeout=30,
        **{"headers": HEADERS, "json": mail, **arguments},
    )


def test_requests_that_sendgrid_does_not_accept_are_refused(sandbox: RunningSandbox) -> None:
    failures = []
    for arguments, status, message in [
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
        (
            {"changes": {"from": {"email": "shop@example.com.example"}}},
            403,
            "verified Sender Identity",
        ),
    ]:
        response = send(sandbox, **arguments)
        [error] = response.json()["errors"]
        if response.status_code != status or message not in error["message"]:
            failures.append((arguments, response.status_code, response.text))

    assert not failures
    assert sandbox.received(outcome="*") == []


def test_invalid_mails_are_refused_by_field(sandbox: RunningSandbox) -> None:
    failures = []
    for changes, field in [
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
    ]:
        response = send(sandbox, changes)
        fields = [error["field"] for error in response.json()["errors"]]
        if response.status_code != 400 or field not in fields:
            failures.append((changes, response.status_code, response.text))

    assert not failures
    assert sandbox.received(outcome="*") == []


def test_events_of_delivered_mail_are_sent_signed(sandbox: RunningSandbox, listener) -> None:
    webhook = {"url": f"{listener.url}/status"}
    sandbox.session.put(f"{sandbox.http_url}/sendgrid/_webhook", json=webhook, timeout=30)
    sandbox.control("ann@example.org", {"status": 500}, times=1)
    sandbox_mode = {"mail_settings": {"sandbox_mode": {"enable": True}}}
    recipients = [{"email": f"{name}@example.org"} for name in ("ann", "bounce", "blocked+7")]
    mail = {
        "personalizations": [{"to": recipients}],
        "custom_args": {"order": "7"},
        "categories": ["news"],
    }

    assert send(sandbox, mail).status_code == 500
    assert send(sandbox, {**mail, **sandbox_mode}).status_code == 200
    message_id = send(sandbox, mail).headers["X-Message-Id"]

    call = listener.next_call()
    signature = base64.b64decode(call.headers["x-twilio-email-event-webhook-signature"])
    timestamp = call.headers["x-twilio-email-event-webhook-timestamp"]
    key: Any = load_der_public_key(base64.b64decode(PUBLIC_KEY))
    key.verify(signature, timestamp.encode() + call.body, ec.ECDSA(SHA256()))
    events = json.loads(call.body)
    assert [(event["email"], event["event"], event.get("type")) for event in events] == [
        ("ann@example.org", "processed", None),
        ("ann@example.org", "delivered", None),
        ("bounce@example.org", "processed", None),
        ("bounce@example.org", "bounce", "bounce"),
        ("blocked+7@example.org", "processed", None),
        ("blocked+7@example.org", "bounce", "blocked"),
    ]
    assert len({event["sg_event_id"] for event in events}) == len(events)
    assert {event["sg_message_id"].partition(".")[0] for event in events} == {message_id}
    assert all((event["order"], event["category"]) == ("7", ["news"]) for event in events)
