"""Errors and callbacks; tests/connectors/twilio covers messages that Twilio accepts."""

import base64
import hashlib
import hmac
from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qsl

import pytest
import requests

from sandbox.client import RunningSandbox

ACCOUNT = "AC" + "a" * 32
TOKEN = "0123456789abcdef0123456789abcdef"
PATH = f"/twilio/2010-04-01/Accounts/{ACCOUNT}/Messages.json"
SMS = {"To": "+12025550123", "From": "+15005550006", "Body": "Hello"}

Send = Callable[..., requests.Response]


@pytest.fixture
def send(sandbox: RunningSandbox) -> Send:
    """Send a valid request, with changes."""

    def send(form: Any = SMS, *, path: str = PATH, method: str = "POST", **arguments: Any) -> Any:
        arguments = {"auth": (ACCOUNT, TOKEN), "data": form, "timeout": 30, **arguments}
        return sandbox.session.request(method, sandbox.http_url + path, **arguments)

    return send


def signature_of(url: str, parameters: dict[str, str]) -> str:
    text = url + "".join(name + value for name, value in sorted(parameters.items()))
    return base64.b64encode(hmac.digest(TOKEN.encode(), text.encode(), hashlib.sha1)).decode()


def test_invalid_messages_are_refused_with_twilios_code(sandbox, send):
    failures = []
    for changes, status, code in [
        ({"To": ""}, 400, 21604),
        ({"To": "12025550123"}, 400, 21211),
        ({"To": "+1"}, 400, 21211),
        ({"From": ""}, 400, 21603),
        ({"From": "a name too long"}, 400, 21212),
        ({"From": "whatsapp:+15005550006"}, 400, 63007),
        ({"To": "whatsapp:+12025550123"}, 400, 63007),
        ({"MessagingServiceSid": "MG" + "0" * 32}, 404, 20404),
        ({"Body": ""}, 400, 21602),
        ({"Body": "x" * 1601}, 400, 21617),
        ({"MediaUrl": ["https://f.test/1"] * 11}, 400, 21623),
        ({"MediaUrl": ["s3://bucket/key"]}, 400, 21620),
        ({"StatusCallback": "/status"}, 400, 21609),
        ({"StatusCallback": "https://post_room.example/status"}, 400, 21609),
        ({"ValidityPeriod": "0"}, 400, 20001),
        ({"ValidityPeriod": "soon"}, 400, 20001),
    ]:
        response = send({**SMS, **changes})
        error = response.json()
        if (response.status_code, error["status"], error["code"]) != (status, status, code):
            failures.append((changes, response.text))

    assert not failures
    assert sandbox.received(outcome="*") == []


def test_requests_for_another_account_or_resource_are_refused(send):
    failures = []
    for arguments, status, code in [
        ({"auth": None}, 401, 20003),
        ({"auth": (ACCOUNT, "wrong")}, 401, 20003),
        ({"auth": ("SK" + "c" * 32, TOKEN)}, 401, 20003),
        ({"path": PATH.replace("a", "b")}, 404, 20404),
        ({"path": PATH.replace(ACCOUNT, "AC" + "0" * 32)}, 404, 20404),
        ({"path": PATH.removesuffix(".json")}, 404, 20404),
        ({"method": "PUT"}, 405, 20004),
        ({"form": b"{}", "headers": {"Content-Type": "application/json"}}, 415, 20001),
    ]:
        response = send(**arguments)
        if (response.status_code, response.json()["code"]) != (status, code):
            failures.append((arguments, response.text))

    assert not failures


def test_status_callbacks_are_signed_and_sent_for_accepted_messages_only(sandbox, send, listener):
    url = f"{listener.url}/status?uid=1"
    form = {**SMS, "To": "+15005553003", "StatusCallback": f"{url}#rc=5&rp=all"}
    sandbox.control(form["To"], {"status": 500}, times=1)

    assert send(form).status_code == 500
    sid = send(form).json()["sid"]

    calls = [listener.next_call() for _ in range(3)]
    reports = [dict(parse_qsl(call.body.decode(), strict_parsing=True)) for call in calls]
    assert [report["MessageStatus"] for report in reports] == ["queued", "sent", "undelivered"]
    assert {(report["MessageSid"], report["To"]) for report in reports} == {(sid, form["To"])}
    assert reports[-1]["ErrorCode"] == "30003"
    for call, report in zip(calls, reports, strict=True):
        assert call.path == "/status?uid=1"
        assert call.headers["x-twilio-signature"] == signature_of(url, report)


def test_inbound_message_calls_the_webhook(sandbox, listener):
    url = f"{listener.url}/inbound"
    inbound = {
        "url": url,
        "From": "whatsapp:+12025550123",
        "Body": "Grüße & 🙂",
        "MediaUrl": ["https://f.test/cat.png", "https://f.test/x"],
    }

    response = sandbox.session.post(f"{sandbox.http_url}/twilio/_inbound", json=inbound, timeout=30)

    call = listener.next_call()
    parameters = dict(parse_qsl(call.body.decode(), keep_blank_values=True))
    assert (response.status_code, response.json()) == (202, {"sid": parameters["MessageSid"]})
    assert call.headers["x-twilio-signature"] == signature_of(url, parameters)
    expected = {
        "From": "whatsapp:+12025550123",
        "Body": "Grüße & 🙂",
        "SmsStatus": "received",
        "NumMedia": "2",
        "MediaUrl0": "https://f.test/cat.png",
        "MediaContentType0": "image/png",
        "MediaUrl1": "https://f.test/x",
        "MediaContentType1": "application/octet-stream",
    }
    assert expected.items() <= parameters.items()


def test_invalid_inbound_messages_are_refused(sandbox):
    failures = []
    for body in b"", b"[]", b"{}", b'{"url": 1}', b'{"url": "x", "To": 1}':
        response = sandbox.session.post(
            f"{sandbox.http_url}/twilio/_inbound", data=body, timeout=30
        )
        if (response.status_code, response.json()["code"]) != (400, 20001):
            failures.append((body, response.text))

    assert not failures
