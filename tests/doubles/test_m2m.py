import hashlib
import re
from collections.abc import Sequence
from typing import Any

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


def texts(name: str, response: requests.Response) -> list[str]:
    """Return the texts of all elements with this name."""
    return re.findall(rf"<(?:\w+:)?{name}[^>/]*>([^<]*)<", response.text)


def test_invalid_soap_requests_are_refused_with_the_fault_of_the_service(
    sandbox: RunningSandbox,
) -> None:
    failures = []
    for arguments, status, name in [
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
        ({"fields": MSID + "<message>a & b</message>"}, 400, "not well-formed XML"),
        ({"method": "SendMessages"}, 400, "not a single method"),
        ({"namespace": "http://mcommunicator.ru/M2M/"}, 400, "not a single method"),
        ({"namespace": ""}, 400, "not a single method"),
        ({"envelope": "http://schemas.xmlsoap.org/soap/envelope/"}, 400, "not a SOAP 1.2 envelope"),
        ({"content_type": "text/xml; charset=utf-8"}, 415, "application/soap"),
        ({"content_type": "application/soap+xml"}, 415, "charset=utf-8"),
    ]:
        response = soap(sandbox, **{"fields": MSID + TEXT, **arguments})
        found = texts("description", response) == [name] if status == 500 else name in response.text
        if response.status_code != status or not found:
            failures.append((arguments, response.status_code, response.text))

    assert not failures
    assert sandbox.received(kind="m2m", outcome="*") == []


def test_each_soap_query_advances_the_status(sandbox: RunningSandbox) -> None:
    pair = soap(sandbox, MSID + TEXT + PAIR, headers={})
    [first] = texts("SendMessageResult", pair)
    [second] = texts("SendMessageResult", soap(sandbox, "<msid>79990000301</msid>" + TEXT))

    replies = [statuses(sandbox, [first, second]) for _ in range(4)]

    assert [texts("DeliveryStatus", reply) for reply in replies] == [
        ["Pending", "Pending"],
        ["Sent", "Sent"],
        ["Delivered", "NotDelivered"],
        ["Delivered", "NotDelivered"],
    ]
    assert texts("DeliveryDate", replies[2]) == texts("DeliveryDate", replies[3])
    assert API_KEY not in str(sandbox.received(kind="m2m"))
    for unknown in [], ["1"], ["-1"]:
        assert texts("description", statuses(sandbox, unknown)) == ["WRONG_ID"]
    assert statuses(sandbox, ["a-1"]).status_code == 400


def test_omnichannel_message_gets_an_id_and_its_events(sandbox: RunningSandbox) -> None:
    outcome = omnichannel(sandbox, SMS).json()["messages"][0]

    assert (outcome["error_code"], outcome["message_id"]) == (0, "uid-1")
    [record] = sandbox.received(kind="m2m", to="+79161234567")
    assert record["message_id"] == outcome["internal_id"]
    assert (record["key"], record["naming"]) == ("uid-1", "RELAY")
    query = {"int_ids": [outcome["internal_id"], "1", "other"]}
    found = [omnichannel(sandbox, query, "/messages/info").json()["events_info"] for _ in range(3)]
    assert [[group["key"] for group in groups] for groups in found] == [[record["message_id"]]] * 3
    assert [[event["status"] for event in groups[0]["events_info"]] for groups in found] == [
        [],
        [200],
        [200, 300],
    ]


def test_invalid_omnichannel_requests_are_refused(sandbox: RunningSandbox) -> None:
    failures = []
    for content, arguments, status, message in [
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
    ]:
        response = omnichannel(sandbox, content, **arguments)
        if response.status_code != status or message not in response.json()["message"]:
            failures.append((content, arguments, response.status_code, response.text))

    assert not failures
    assert sandbox.received(kind="m2m", outcome="*") == []
