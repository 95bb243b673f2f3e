import hashlib
import re
from collections.abc import Sequence
from typing import Any

import pytest
import requests

from sandbox.client import RunningSandbox
from tests.doubles.m2m_messages import API_KEY, LOGIN, PASSWORD

BEARER = {"Authorization": f"Bearer {API_KEY}"}
PASSWORD_MD5 = hashlib.md5(PASSWORD.encode()).hexdigest()
PAIR = f"<login>{LOGIN}</login><password>{PASSWORD_MD5}</password>"

MSID, TEXT = "<msid>79161234567</msid>", "<message>Привет</message>"
SMS: dict[str, Any] = {
    "messages": [
        {
            "content": {"short_text": "Привет"},
            "to": [{"msisdn": "79161234567", "message_id": "uid-1"}],
        }
    ],
    "options": {"from": {"sms_address": "RELAY"}},
}


def soap(
    sandbox: RunningSandbox,
    fields: str,
    method: str = "SendMessage",
    *,
    namespace: str = "http://mcommunicator.ru/M2M",
    envelope: str = "http://www.w3.org/2003/05/soap-envelope",
    content_type: str = "application/soap+xml; charset=utf-8",
    headers: dict[str, str] = BEARER,
) -> requests.Response:
    body = (
        f'<e:Envelope xmlns:e="{envelope}"><e:Body><{method} xmlns="{namespace}">{fields}'
        f"</{method}></e:Body></e:Envelope>"
    )
    return sandbox.session.post(
        f"{sandbox.http_url}/m2m/m2m_api.asmx",
        data=body.encode(),
        headers={"Content-Type": content_type, **headers},
        timeout=30,
    )


def statuses(sandbox: RunningSandbox, ids: Sequence[str]) -> requests.Response:
    longs = "".join(f"<long>{one}</long>" for one in ids)
    return soap(sandbox, f"<messageIDs>{longs}</messageIDs>", "GetMessagesStatus")


def omnichannel(
    sandbox: RunningSandbox, content: Any, path: str = "/messages", **arguments: Any
) -> requests.Response:
    return sandbox.session.request(
        arguments.pop("method", "POST"),
        f"{sandbox.http_url}/m2m/http-api/v1{path}",
        timeout=30,
        **{"json": content, "auth": (LOGIN, PASSWORD), **arguments},
    )


def said(name: str, response: requests.Response) -> list[str]:
    """The texts of all elements of that name."""
    return re.findall(rf"<(?:\w+:)?{name}[^>/]*>([^<]*)<", response.text)


@pytest.mark.parametrize(
    ("fields", "headers"),
    [
        (MSID + TEXT, BEARER),
        (MSID + TEXT + "<naming>RELAY</naming>", BEARER),
        (MSID + TEXT + PAIR, {}),
        (MSID + TEXT + "<naming>RELAY</naming>" + PAIR, {}),
    ],
)
def test_a_message_gets_an_id_and_is_shown(
    sandbox: RunningSandbox, fields: str, headers: dict[str, str]
) -> None:
    response = soap(sandbox, fields, headers=headers)

    assert response.status_code == 200
    [record] = sandbox.received(kind="m2m", to="+79161234567")
    assert said("SendMessageResult", response) == [record["message_id"]]
    assert record["content"] == "Привет"
    assert API_KEY not in str(record)


@pytest.mark.parametrize(
    ("arguments", "status", "name"),
    [
        ({"headers": {}}, 500, "INCORRECT_PASSWORD"),
        ({"headers": {"Authorization": "Bearer other"}}, 500, "INCORRECT_PASSWORD"),
        ({"fields": MSID + TEXT + PAIR}, 500, "INCORRECT_PASSWORD"),
        ({"fields": MSID + TEXT + PAIR.upper(), "headers": {}}, 500, "MESSAGE_FORMAT_ERROR"),
        (
            {
                "fields": MSID + TEXT + PAIR.replace(PASSWORD_MD5, PASSWORD_MD5.upper()),
                "headers": {},
            },
            500,
            "INCORRECT_PASSWORD",
        ),
        ({"fields": TEXT + MSID}, 500, "MESSAGE_FORMAT_ERROR"),
        ({"fields": MSID + TEXT + TEXT}, 500, "MESSAGE_FORMAT_ERROR"),
        ({"fields": MSID + TEXT + "<sender>A</sender>"}, 500, "MESSAGE_FORMAT_ERROR"),
        ({"fields": MSID + '<message xmlns="">Hi</message>'}, 500, "MESSAGE_FORMAT_ERROR"),
        ({"fields": TEXT}, 500, "MSID_FORMAT_ERROR"),
        ({"fields": "<msid>+79161234567</msid>" + TEXT}, 500, "MSID_FORMAT_ERROR"),
        ({"fields": "<msid>4915112345678</msid>" + TEXT}, 500, "MSID_FORMAT_ERROR"),
        ({"fields": MSID}, 500, "EMPTY_MESSAGE_NOT_ALLOWED"),
        ({"fields": f"{MSID}<message>{'я' * 1001}</message>"}, 500, "MAX_LENGTH_EXCEEDED"),
        ({"fields": "<msid>79990000410</msid>" + TEXT}, 500, "MSID_IS_IN_BLACKLIST"),
        ({"fields": MSID + "<message>a & b</message>"}, 400, "no well-formed XML"),
        ({"method": "SendMessages"}, 400, "no single method"),
        ({"namespace": "http://mcommunicator.ru/M2M/"}, 400, "no single method"),
        ({"namespace": ""}, 400, "no single method"),
        ({"envelope": "http://schemas.xmlsoap.org/soap/envelope/"}, 400, "no SOAP 1.2 envelope"),
        ({"content_type": "text/xml; charset=utf-8"}, 415, "application/soap"),
        ({"content_type": "application/soap+xml"}, 415, "charset=utf-8"),
    ],
)
def test_a_soap_call_built_wrong_is_refused_as_the_service_does(
    sandbox: RunningSandbox, arguments: dict[str, Any], status: int, name: str
) -> None:
    response = soap(sandbox, **{"fields": MSID + TEXT, **arguments})

    assert response.status_code == status
    if status == 500:
        assert said("description", response) == [name]
        assert 'xmlns:ns1="http://mcommunicator.ru/M2M/"' in response.text
    else:
        assert name in response.text
    assert sandbox.received(kind="m2m", outcome="*") == []


def test_each_inquiry_finds_a_message_one_step_further(sandbox: RunningSandbox) -> None:
    [first] = said("SendMessageResult", soap(sandbox, MSID + TEXT))
    [second] = said("SendMessageResult", soap(sandbox, "<msid>79990000301</msid>" + TEXT))

    replies = [statuses(sandbox, [first, second]) for _ in range(4)]

    assert [said("DeliveryStatus", reply) for reply in replies] == [
        ["Pending", "Pending"],
        ["Sent", "Sent"],
        ["Delivered", "NotDelivered"],
        ["Delivered", "NotDelivered"],
    ]
    assert said("DeliveryDate", replies[2]) == said("DeliveryDate", replies[3])
    assert said("MessageID", replies[0]) == [first, second]


@pytest.mark.parametrize("ids", [[], ["1"], ["-1"]])
def test_an_inquiry_for_what_was_never_sent_is_a_fault(
    sandbox: RunningSandbox, ids: list[str]
) -> None:
    assert said("description", statuses(sandbox, ids)) == ["WRONG_ID"]


def test_an_id_that_is_no_number_cannot_be_read(sandbox: RunningSandbox) -> None:
    assert statuses(sandbox, ["a-1"]).status_code == 400


def test_the_omnichannel_form_gets_an_id_and_its_events(sandbox: RunningSandbox) -> None:
    outcome = omnichannel(sandbox, SMS).json()["messages"][0]

    assert (outcome["error_code"], outcome["message_id"]) == (0, "uid-1")
    [record] = sandbox.received(kind="m2m", to="+79161234567")
    assert record["message_id"] == outcome["internal_id"]
    assert (record["key"], record["naming"]) == ("uid-1", "RELAY")
    inquiry = {"int_ids": [outcome["internal_id"], "1", "other"]}
    found = [
        omnichannel(sandbox, inquiry, "/messages/info").json()["events_info"] for _ in range(3)
    ]
    assert [[group["key"] for group in groups] for groups in found] == [[record["message_id"]]] * 3
    assert [[event["status"] for event in groups[0]["events_info"]] for groups in found] == [
        [],
        [200],
        [200, 300],
    ]


@pytest.mark.parametrize(
    ("content", "arguments", "status", "message"),
    [
        (SMS, {"auth": None}, 401, "credentials"),
        (SMS, {"auth": (LOGIN, PASSWORD_MD5)}, 401, "credentials"),
        (SMS, {"path": "/message"}, 404, "no such resource"),
        (SMS, {"method": "PUT"}, 405, "POST"),
        (None, {"data": "{}"}, 415, "application/json"),
        ([], {}, 400, "object"),
        ({**SMS, "messages": []}, {}, 400, "messages"),
        ({**SMS, "options": {}}, {}, 400, "options.from"),
        ({"messages": SMS["messages"]}, {}, 400, "options"),
        ({**SMS, "text": "Hi"}, {}, 400, "text"),
        (
            {**SMS, "messages": [{**SMS["messages"][0], "content": {"short_text": ""}}]},
            {},
            400,
            "short_text",
        ),
        (
            {**SMS, "messages": [{**SMS["messages"][0], "to": [{"msisdn": 79161234567}]}]},
            {},
            400,
            "msisdn",
        ),
        ({"int_ids": []}, {"path": "/messages/info"}, 400, "int_ids"),
    ],
)
def test_an_omnichannel_call_built_wrong_is_refused(
    sandbox: RunningSandbox, content: Any, arguments: dict[str, Any], status: int, message: str
) -> None:
    response = omnichannel(sandbox, content, **arguments)

    assert response.status_code == status
    assert message in response.json()["message"]
    assert sandbox.received(kind="m2m", outcome="*") == []


def test_a_bad_number_is_refused_within_a_call_that_succeeds(sandbox: RunningSandbox) -> None:
    message = {**SMS["messages"][0], "to": [{"msisdn": "+79161234567", "message_id": "uid-1"}]}

    response = omnichannel(sandbox, {**SMS, "messages": [message]})

    assert response.status_code == 200
    outcome = response.json()["messages"][0]
    assert (outcome["internal_id"], outcome["error_code"] > 0) == ("0", True)


@pytest.mark.parametrize(
    ("method", "path", "content", "status"),
    [
        ("GET", "/m2m/m2m_api.asmx", None, 405),
        ("POST", "/m2m", None, 404),
        ("GET", "/m2m/_inbound", None, 405),
        ("POST", "/m2m/_inbound", {"msid": "1", "message": "Hi"}, 400),
    ],
)
def test_what_mts_does_not_have_is_said(
    sandbox: RunningSandbox, method: str, path: str, content: Any, status: int
) -> None:
    response = sandbox.session.request(method, sandbox.http_url + path, json=content, timeout=30)

    assert response.status_code == status
    assert response.json()["error"]
