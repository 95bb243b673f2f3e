import base64
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlencode
from xml.etree import ElementTree as ET

from connectors.base import MalformedWebhook, UnsignedWebhook, UnverifiedWebhook, WebhookRequest
from tests.connectors.m2m.soap_bodies import API_KEY, LOGIN
from tests.connectors.receiving import next_webhook, outcome

OLD, NEW = "old-secret-of-ours", "new-secret-of-ours"
NOON = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)
MESSAGE = (("msid", "79161234567"), ("message", "Hi"))
BY_PARAMETER = {**API_KEY, "sender": "+79160000000", "webhook_secrets": (NEW, OLD)}
BY_LOGIN = {**BY_PARAMETER, "webhook_login": "mts"}


def get(
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


def test_inbound_message_is_read_and_answered_as_mts_expects(make_m2m):
    received = make_m2m(**BY_PARAMETER).receive(get())

    [inbound] = received.items
    assert (inbound.channel, inbound.body) == ("sms", "Да & нет")
    assert (inbound.sender, inbound.recipient) == ("+79161234567", "+79160000000")
    assert inbound.metadata == {}
    assert received.response.status == 200
    assert received.response.content_type == "text/xml; charset=utf-8"
    result = ET.fromstring(received.response.body)
    assert [(part.tag, part.text) for part in result.iter()] == [
        ("{http://mcommunicator.ru/M2M/}OperationResult", None),
        ("{http://mcommunicator.ru/M2M/}code", "0"),
        ("{http://mcommunicator.ru/M2M/}description", "OK"),
    ]


def test_both_secrets_are_valid_during_a_rotation(make_m2m):
    by_parameter, by_login = make_m2m(**BY_PARAMETER), make_m2m(**BY_LOGIN)
    for secret in (NEW, OLD):
        assert by_parameter.receive(get((("secret", secret), *MESSAGE))).items
        for scheme in ("Basic", "basic"):
            headers = basic(f"mts:{secret}", scheme)
            assert by_login.receive(get(MESSAGE, headers=headers)).items


def test_webhook_without_the_secret_is_rejected(make_m2m):
    table: list[tuple[dict[str, Any], Any, dict[str, str], type]] = [
        (BY_PARAMETER, MESSAGE, {}, UnsignedWebhook),
        (BY_PARAMETER, MESSAGE, basic(f"mts:{NEW}"), UnsignedWebhook),
        (BY_PARAMETER, (("secret", ""), *MESSAGE), {}, UnverifiedWebhook),
        (BY_PARAMETER, (("secret", "wröng"), *MESSAGE), {}, UnverifiedWebhook),
        (BY_PARAMETER, (("secret", NEW[:-1]), *MESSAGE), {}, UnverifiedWebhook),
        (BY_PARAMETER, (("secret", NEW), ("secret", "wrong"), *MESSAGE), {}, UnverifiedWebhook),
        (BY_PARAMETER, (("secret", "wrong"), ("secret", NEW), *MESSAGE), {}, UnverifiedWebhook),
        (BY_PARAMETER, (("secret", "wrong"), ("nonsense", "1")), {}, UnverifiedWebhook),
        (BY_LOGIN, MESSAGE, {}, UnsignedWebhook),
        (BY_LOGIN, (("secret", NEW), *MESSAGE), {}, UnsignedWebhook),
        (BY_LOGIN, MESSAGE, {"authorization": f"Bearer {NEW}"}, UnsignedWebhook),
        (BY_LOGIN, MESSAGE, basic(f"mts:{NEW}x"), UnverifiedWebhook),
        (BY_LOGIN, MESSAGE, basic(f"other:{NEW}"), UnverifiedWebhook),
        (BY_LOGIN, MESSAGE, basic(NEW), UnverifiedWebhook),
        (BY_LOGIN, MESSAGE, {"authorization": "Basic"}, UnverifiedWebhook),
        (BY_LOGIN, MESSAGE, {"authorization": "Basic %%%"}, UnverifiedWebhook),
        (BY_LOGIN, MESSAGE, {"authorization": "Basic ёё"}, UnverifiedWebhook),
    ]
    failures = []
    for settings, query, headers, kind in table:
        result = outcome(make_m2m(**settings), get(query, headers=headers))
        if type(result) is not kind or NEW in str(result):
            failures.append((query, headers, result))
    assert not failures


def test_webhook_that_mts_does_not_send_is_malformed(make_m2m):
    m2m = make_m2m(**BY_PARAMETER)
    table: list[tuple[str, dict[str, str]]] = [
        ("POST", {"msid": "79161234567", "message": "Hi"}),
        ("GET", {"message": "Hi"}),
        ("GET", {"msid": " ", "message": "Hi"}),
        ("GET", {"msid": "79161234567"}),
        ("GET", {}),
    ]
    accepted = [
        (method, fields)
        for method, fields in table
        if not isinstance(
            outcome(m2m, get([("secret", NEW), *fields.items()], method=method)), MalformedWebhook
        )
    ]
    assert not accepted


def test_sender_without_a_number_is_kept_as_it_is(make_m2m):
    query = (("secret", NEW), ("msid", "MTS"), ("message", ""))

    [inbound] = make_m2m(**BY_PARAMETER).receive(get(query)).items

    assert (inbound.sender, inbound.body) == ("MTS", "")


def test_metadata_contain_the_other_parameters_but_not_the_secret(make_m2m):
    query = (("secret", NEW), *MESSAGE, ("operator", "mts"))

    [inbound] = make_m2m(**BY_PARAMETER).receive(get(query)).items

    assert inbound.metadata == {"operator": "mts"}
    assert NEW not in str(inbound)


def test_same_text_sent_again_is_another_message(make_m2m):
    m2m = make_m2m(**BY_PARAMETER)

    first, again = (
        m2m.receive(get(received_at=received_at)).items[0]
        for received_at in (NOON, NOON.replace(microsecond=1))
    )

    assert first.key != again.key


def test_inbound_webhook_is_enabled_by_a_secret(make_m2m):
    assert make_m2m(**BY_PARAMETER).webhooks == {"inbound"}
    assert make_m2m(**BY_LOGIN).webhooks == {"inbound"}
    assert make_m2m(**LOGIN).webhooks == set()


def test_webhook_of_the_simulated_mts_is_verified(make_m2m, doubles, listener):
    table: list[tuple[dict[str, Any], str, dict[str, str]]] = [
        (BY_PARAMETER, f"?secret={NEW}", {}),
        (BY_LOGIN, "", {"login": "mts", "password": NEW}),
    ]
    for settings, query, credentials in table:
        incoming = {"url": f"{listener.url}/inbound{query}", "msid": "79161234567", **credentials}
        doubles.session.post(
            f"{doubles.http_url}/m2m/_inbound",
            json={**incoming, "message": "Да & нет?"},
            timeout=30,
        )

        [inbound] = make_m2m(**settings).receive(next_webhook(listener, "inbound")).items
        assert (inbound.sender, inbound.body) == ("+79161234567", "Да & нет?")
