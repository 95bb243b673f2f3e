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
    """Sends an SMS as Twilio's documentation has it, but for what is given."""

    def _send(form: Any = SMS, *, path: str = PATH, method: str = "POST", **arguments: Any) -> Any:
        arguments = {"auth": (ACCOUNT, TOKEN), "data": form, "timeout": 30, **arguments}
        return sandbox.session.request(method, sandbox.http_url + path, **arguments)

    return _send


def signature_of(url: str, parameters: list[tuple[str, str]]) -> str:
    text = url + "".join(name + value for name, value in sorted(parameters))
    return base64.b64encode(hmac.digest(TOKEN.encode(), text.encode(), hashlib.sha1)).decode()


def test_a_message_is_created_and_shown(send: Send, sandbox: RunningSandbox) -> None:
    response = send({**SMS, "Body": "Grüße 🙂"})

    assert response.status_code == 201
    created = response.json()
    assert (created["status"], created["num_segments"], created["body"]) == (
        "queued",
        "1",
        "Grüße 🙂",
    )
    [record] = sandbox.received(kind="twilio")
    assert record["message_id"] == created["sid"]
    assert (record["to"], record["from"], record["content"]) == (
        "+12025550123",
        "+15005550006",
        "Grüße 🙂",
    )
    assert TOKEN not in str(record)


def test_a_messaging_service_picks_the_sender_later(send: Send) -> None:
    created = send({"To": "+12025550123", "Body": "Hi", "MessagingServiceSid": "MG" + "d" * 32})

    assert (created.json()["status"], created.json()["from"]) == ("accepted", None)


def test_a_message_with_files_is_an_mms(send: Send) -> None:
    created = send([*SMS.items(), ("MediaUrl", "https://f.test/1"), ("MediaUrl", "http://f.test/")])

    assert created.json()["sid"].startswith("MM")
    assert created.json()["num_media"] == "2"


@pytest.mark.parametrize(
    ("form", "status", "code"),
    [
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
    ],
)
def test_a_message_that_twilio_would_refuse_is_refused(
    send: Send, sandbox: RunningSandbox, form: dict[str, Any], status: int, code: int
) -> None:
    response = send({**SMS, **form})

    assert response.status_code == status
    error = response.json()
    assert (error["code"], error["status"]) == (code, status)
    assert error["more_info"].endswith(f"/{code}")
    assert sandbox.received(outcome="*") == []


@pytest.mark.parametrize(
    ("arguments", "status", "code"),
    [
        ({"auth": None}, 401, 20003),
        ({"auth": (ACCOUNT, "wrong")}, 401, 20003),
        ({"auth": ("SK" + "c" * 32, TOKEN)}, 401, 20003),
        ({"path": PATH.replace("a", "b")}, 404, 20404),
        ({"path": PATH.replace(ACCOUNT, "AC" + "0" * 32)}, 404, 20404),
        ({"path": PATH.removesuffix(".json")}, 404, 20404),
        ({"method": "PUT"}, 405, 20004),
        ({"form": b"{}", "headers": {"Content-Type": "application/json"}}, 415, 20001),
    ],
)
def test_a_request_that_is_none_of_this_account_is_refused(
    send: Send, arguments: dict[str, Any], status: int, code: int
) -> None:
    response = send(**arguments)

    assert (response.status_code, response.json()["code"]) == (status, code)


def test_an_api_key_will_do_as_well(send: Send) -> None:
    assert send(auth=("SK" + "c" * 32, "sandbox-api-key-secret")).status_code == 201


@pytest.mark.parametrize(
    ("to", "statuses", "error"),
    [
        ("+12025550123", ["queued", "sent", "delivered"], None),
        ("+15005553003", ["queued", "sent", "undelivered"], "30003"),
        ("+15005553005", ["queued", "sent", "undelivered"], "30005"),
    ],
)
def test_it_reports_what_becomes_of_a_message(
    send: Send, listener, to: str, statuses: list[str], error: str | None
) -> None:
    url = f"{listener.url}/status?uid=1"

    sid = send({**SMS, "To": to, "StatusCallback": f"{url}#rc=5&rp=all"}).json()["sid"]

    calls = [listener.next_call() for _ in statuses]
    reports = [dict(parse_qsl(call.body.decode(), strict_parsing=True)) for call in calls]
    assert [report["MessageStatus"] for report in reports] == statuses
    assert {(report["MessageSid"], report["To"]) for report in reports} == {(sid, to)}
    assert reports[-1].get("ErrorCode") == error
    for call, report in zip(calls, reports, strict=True):
        assert call.path == "/status?uid=1"
        assert call.headers["x-twilio-signature"] == signature_of(url, [*report.items()])


def test_a_refused_message_is_not_reported(send: Send, sandbox: RunningSandbox, listener) -> None:
    sandbox.control("+12025550123", {"status": 500}, times=1)
    form = {**SMS, "StatusCallback": listener.url}

    assert send(form).status_code == 500
    sid = send(form).json()["sid"]

    calls = [listener.next_call() for _ in range(3)]
    assert {dict(parse_qsl(call.body.decode()))["MessageSid"] for call in calls} == {sid}


def test_a_message_comes_in(sandbox: RunningSandbox, listener) -> None:
    url = f"{listener.url}/inbound"
    incoming = {
        "url": url,
        "From": "whatsapp:+12025550123",
        "Body": "Grüße & 🙂",
        "OptOutType": "STOP",
        "MediaUrl": ["https://f.test/cat.png", "https://f.test/x"],
    }

    response = sandbox.session.post(
        f"{sandbox.http_url}/twilio/_inbound", json=incoming, timeout=30
    )

    call = listener.next_call()
    parameters = dict(parse_qsl(call.body.decode(), keep_blank_values=True))
    assert (response.status_code, response.json()) == (202, {"sid": parameters["MessageSid"]})
    assert call.headers["x-twilio-signature"] == signature_of(url, [*parameters.items()])
    wanted = {
        "From": "whatsapp:+12025550123",
        "Body": "Grüße & 🙂",
        "OptOutType": "STOP",
        "SmsStatus": "received",
        "NumMedia": "2",
        "MediaUrl0": "https://f.test/cat.png",
        "MediaContentType0": "image/png",
        "MediaUrl1": "https://f.test/x",
        "MediaContentType1": "application/octet-stream",
    }
    assert wanted.items() <= parameters.items()


@pytest.mark.parametrize("incoming", [b"", b"[]", b"{}", b'{"url": 1}', b'{"url": "x", "To": 1}'])
def test_what_is_no_message_does_not_come_in(sandbox: RunningSandbox, incoming: bytes) -> None:
    response = sandbox.session.post(
        f"{sandbox.http_url}/twilio/_inbound", data=incoming, timeout=30
    )

    assert (response.status_code, response.json()["code"]) == (400, 20001)
