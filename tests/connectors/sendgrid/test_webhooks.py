import base64
import json
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from connectors.base import (
    MalformedWebhook,
    Receipt,
    Received,
    UnsignedWebhook,
    UnverifiedWebhook,
    WebhookRequest,
)
from connectors.sendgrid.connector import SendGrid
from connectors.sendgrid.settings import SendGridSettings
from tests.connectors.receiving import next_webhook, outcome
from tests.connectors.sendgrid.conftest import UID
from tests.connectors.sendgrid.keys import (
    SIGNATURE,
    TIMESTAMP,
    new_key,
    public_key_of,
    signature_headers,
)
from tests.doubles.sendgrid_webhooks import PUBLIC_KEY
from tests.doubles.webhook_listener import WebhookListener

NOW = datetime(2023, 11, 14, 22, 13, 21, tzinfo=UTC)

# Computed independently of this project, the way SendGrid's own library does it.
VECTOR_KEY = (
    "MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAE8qcBZVp73I/nwZAQPHrvBXHhhmqC"
    "p27++2fY7Z46qM2d/ovHjGq18fc41aoIF1/4Hwg4OLrc4307W0nGJmQmCA=="
)
VECTOR_BODY = (
    b'[{"email":"a@example.com","timestamp":1700000000,"event":"delivered",'
    b'"sg_event_id":"ZGVsaXZlcmVkLTA","sg_message_id":"abc.filter0001",'
    b'"smtp-id":"<m1@example.com>","response":"250 OK","relay_message_id":"0190f3c2"}]\r\n'
)
VECTOR_SIGNATURE = (
    "MEUCIE3ifWofr1K5fBah1qlCUI3XCMWAJNgOzEECcktg40qAAiEA6EHnVYoPAkEF"
    "PvW7QfDJLwR1BYZrkVAqU6KycbVN32I="
)

KEY, OTHER_KEY = new_key(), new_key()


def connector_with(*keys: str) -> SendGrid:
    return SendGrid(SendGridSettings(api_key="SG.key", event_public_keys=keys))


CONNECTOR = connector_with(public_key_of(KEY))


def request(body: bytes, headers: dict[str, str]) -> WebhookRequest:
    url = "https://relay.example.com/api/webhooks/sendgrid/status"
    return WebhookRequest("status", "POST", url, headers, body, NOW)


def signed(
    body: bytes, key: ec.EllipticCurvePrivateKey = KEY, timestamp: str = "1700000001"
) -> WebhookRequest:
    return request(body, signature_headers(key, timestamp, body))


def receipts_of(*events: dict[str, Any]) -> list[Receipt]:
    received = CONNECTOR.receive(signed(json.dumps(events).encode() + b"\r\n"))
    return [item for item in received.items if isinstance(item, Receipt)]


# Signatures


def test_signature_by_another_implementation_is_verified():
    headers = {SIGNATURE: VECTOR_SIGNATURE, TIMESTAMP: "1700000001"}

    received = connector_with(VECTOR_KEY).receive(request(VECTOR_BODY, headers))

    [receipt] = received.items
    assert receipt == Receipt(
        key="ZGVsaXZlcmVkLTA",
        kind="delivered",
        provider_message_id="abc",
        recipient="a@example.com",
        occurred_at=datetime(2023, 11, 14, 22, 13, 20, tzinfo=UTC),
        detail="250 OK",
        payload=json.loads(VECTOR_BODY)[0],
    )
    assert received.response.status == 204


def test_both_keys_verify_during_a_rotation():
    connector = connector_with(public_key_of(OTHER_KEY), public_key_of(KEY))

    assert connector.receive(signed(b"[]", KEY)).items == []
    assert connector.receive(signed(b"[]", OTHER_KEY)).items == []


def test_webhook_with_a_missing_or_invalid_signature_is_rejected():
    good = signed(b'[{"event": "open"}]\r\n')

    def altered(body: bytes = good.body, **headers: str | None) -> WebhookRequest:
        names = {"signature": SIGNATURE, "timestamp": TIMESTAMP}
        changed = {**good.headers, **{names[name]: value for name, value in headers.items()}}
        present = {name: value for name, value in changed.items() if value is not None}
        return request(body, present)

    table: list[tuple[WebhookRequest, type]] = [
        (altered(signature=None), UnsignedWebhook),
        (altered(timestamp=None), UnsignedWebhook),
        (altered(signature=""), UnsignedWebhook),
        (altered(timestamp=""), UnsignedWebhook),
        (altered(b'[{"event": "open"}]\n'), UnverifiedWebhook),
        (altered(b'[{"event":"open"}]\r\n'), UnverifiedWebhook),
        (altered(b""), UnverifiedWebhook),
        (altered(timestamp="1700000002"), UnverifiedWebhook),
        (altered(signature="not base64!"), UnverifiedWebhook),
        (altered(signature="é"), UnverifiedWebhook),
        (altered(signature="AAAA"), UnverifiedWebhook),
        (altered(signature=VECTOR_SIGNATURE), UnverifiedWebhook),
        (signed(b"[]", OTHER_KEY), UnverifiedWebhook),
        (signed(b"[]", timestamp="soon"), UnverifiedWebhook),
        (signed(b"[]", timestamp="-1700000001"), UnverifiedWebhook),
        (signed(b"[]", timestamp="1700000001.5"), UnverifiedWebhook),
    ]
    failures = [
        (call.headers, call.body)
        for call, kind in table
        if type(outcome(CONNECTOR, call)) is not kind
    ]
    assert not failures
    assert isinstance(outcome(CONNECTOR, good), Received)


def test_signature_is_valid_for_ten_minutes_either_way():
    limit = timedelta(minutes=10)
    table = {
        limit: Received,
        limit + timedelta(seconds=1): UnverifiedWebhook,
        -limit: Received,
        -limit - timedelta(seconds=1): UnverifiedWebhook,
    }
    failures = [
        age
        for age, kind in table.items()
        if type(outcome(CONNECTOR, signed(b"[]", timestamp=f"{(NOW - age).timestamp():.0f}")))
        is not kind
    ]
    assert not failures


def test_status_webhook_is_enabled_by_a_key():
    disabled = connector_with()

    assert disabled.webhooks == frozenset()
    assert isinstance(outcome(disabled, signed(b"[]")), UnsignedWebhook)
    assert CONNECTOR.webhooks == {"status"}


def test_signed_webhook_without_events_is_malformed():
    accepted = [
        body
        for body in (b"", b"{}", b"[1]", b"[{}, null]", b"[" * 9999, b"\xff")
        if not isinstance(outcome(CONNECTOR, signed(body)), MalformedWebhook)
    ]
    assert not accepted


# Events


def test_every_event_becomes_a_receipt():
    bounce = {
        "event": "bounce",
        "type": "bounce",
        "status": "5.1.1",
        "reason": "550 5.1.1 no ann@example.org here",
        "bounce_classification": "Invalid Address",
    }
    blocked = {"event": "bounce", "type": "blocked", "status": "4.7.1", "reason": "try later"}
    deferred = {"event": "deferred", "response": "451 later", "attempt": "5"}
    machine_open = {"event": "open", "useragent": "x", "sg_machine_open": True}
    table: list[tuple[dict[str, Any], str, bool | str, str | None, str | None]] = [
        # event, kind, suppress, code, detail
        ({"event": "processed", "send_at": 1700000000}, "queued", False, None, None),
        (deferred, "deferred", False, None, "451 later"),
        (
            {"event": "delivered", "response": "250 OK", "tls": 1},
            "delivered",
            False,
            None,
            "250 OK",
        ),
        (bounce, "bounced", True, "5.1.1", "550 5.1.1 no *** here"),
        (blocked, "bounced", False, "4.7.1", "try later"),
        ({"event": "bounce", "status": "5.0.0"}, "bounced", False, "5.0.0", None),
        ({"event": "dropped", "reason": "Bounced"}, "failed", False, None, "Bounced"),
        ({"event": "spamreport"}, "complained", True, None, None),
        ({"event": "unsubscribe"}, "unsubscribed", "opt_out", None, None),
        ({"event": "group_unsubscribe", "asm_group_id": 10}, "unsubscribed", False, None, None),
        ({"event": "group_resubscribe", "asm_group_id": 10}, "resubscribed", False, None, None),
        (machine_open, "opened", False, None, None),
        ({"event": "click", "url": "https://example.com/"}, "clicked", False, None, None),
        (
            {"event": "account_status_change"},
            "unrecognised",
            False,
            None,
            "event account_status_change",
        ),
        (
            {"event": "new", "status": 5, "reason": "why"},
            "unrecognised",
            False,
            None,
            "event new: why",
        ),
        ({"event": ["bounce"], "type": "bounce"}, "unrecognised", False, None, None),
        ({}, "unrecognised", False, None, None),
    ]
    common = {
        "email": "ann@example.org",
        "timestamp": 1700000000,
        "sg_event_id": "e-1",
        "sg_message_id": "14c5d75ce93.filter0001.16648.5515E0B88.0",
        "postroom_uid": UID,
        "category": ["news"],
    }
    failures = []
    for event, kind, suppress, code, detail in table:
        [receipt] = receipts_of({**common, **event})
        expected = Receipt(
            key="e-1",
            kind=kind,  # type: ignore[arg-type]
            provider_message_id="14c5d75ce93",
            message_uid=UID,
            recipient="ann@example.org",
            occurred_at=datetime(2023, 11, 14, 22, 13, 20, tzinfo=UTC),
            code=code,
            detail=detail,
            suppress=suppress,  # type: ignore[arg-type]
            payload={**common, **event},
        )
        if receipt != expected:
            failures.append(receipt)
    assert not failures


def test_events_of_a_batch_stay_in_order():
    batch = [{"event": "processed", "sg_event_id": str(n)} for n in range(500)]

    assert [receipt.key for receipt in receipts_of(*batch)] == [str(n) for n in range(500)]


def test_event_without_an_id_is_identified_by_its_content():
    dropped = {"event": "dropped", "email": "ann@example.org", "reason": "Invalid"}

    first, again, other = receipts_of(
        dropped, dict(reversed(dropped.items())), {**dropped, "email": "bob@example.org"}
    )

    assert first.key == again.key
    assert first.key != other.key


def test_invalid_uid_or_timestamp_is_ignored():
    uids = [None, "", 7, "0190f3c2", f"{UID}'", [UID]]
    timestamps = [None, "1700000000", 1e30, -1e30, [], {}]

    receipts = receipts_of(
        *({"event": "open", "postroom_uid": uid} for uid in uids),
        *({"event": "open", "timestamp": timestamp} for timestamp in timestamps),
    )

    assert {(receipt.message_uid, receipt.occurred_at) for receipt in receipts} == {(None, None)}


@pytest.fixture
def simulated_events(doubles, listener) -> Iterator[WebhookListener]:
    """The listener, to which the simulated SendGrid sends its events."""
    address = f"{doubles.http_url}/sendgrid/_webhook"
    doubles.session.put(address, json={"url": f"{listener.url}/status"}, timeout=30)
    yield listener
    doubles.session.put(address, json={}, timeout=30)


def test_events_of_the_simulated_sendgrid_are_verified_and_identify_the_message(
    make_simulated: Callable[..., SendGrid], make_email, simulated_events
):
    sendgrid = make_simulated(event_public_keys=[PUBLIC_KEY])
    accepted = sendgrid.send(
        make_email(recipient="engaged@example.org", cc=("bounce@example.org",))
    )

    receipts = sendgrid.receive(next_webhook(simulated_events, "status")).items

    assert [(receipt.kind, receipt.recipient) for receipt in receipts] == [
        ("queued", "engaged@example.org"),
        ("delivered", "engaged@example.org"),
        ("opened", "engaged@example.org"),
        ("clicked", "engaged@example.org"),
        ("queued", "bounce@example.org"),
        ("bounced", "bounce@example.org"),
    ]
    assert {receipt.message_uid for receipt in receipts} == {UID}
    assert {receipt.provider_message_id for receipt in receipts} == {accepted.provider_message_id}
    assert len({receipt.key for receipt in receipts}) == 6


# Credentials of inbound mail


def test_inbound_webhook_needs_the_configured_credentials():
    def basic(pair: bytes) -> str:
        return "Basic " + base64.b64encode(pair).decode()

    sendgrid = SendGrid(
        SendGridSettings(
            api_key="SG.key", inbound_username="grid", inbound_passwords=["new", "p:ss"]
        )
    )
    table: list[tuple[str | None, type]] = [
        (basic(b"grid:p:ss"), MalformedWebhook),  # verified, but not an e-mail
        (basic(b"grid:new"), MalformedWebhook),
        (None, UnsignedWebhook),
        ("", UnsignedWebhook),
        ("Bearer grid:p:ss", UnsignedWebhook),
        ("Basic", UnverifiedWebhook),
        ("Basic é", UnverifiedWebhook),
        ("Basic grid:p:ss", UnverifiedWebhook),
        (basic(b"grid:p:s"), UnverifiedWebhook),
        (basic(b"grid:"), UnverifiedWebhook),
        (basic(b"other:p:ss"), UnverifiedWebhook),
        (basic(b"p:ss"), UnverifiedWebhook),
        (basic(b"grid:p:ss\n"), UnverifiedWebhook),
    ]
    failures = []
    for authorization, kind in table:
        headers = {} if authorization is None else {"authorization": authorization}
        url = "https://relay.example.com/api/webhooks/sendgrid/inbound"
        call = WebhookRequest("inbound", "POST", url, headers, b"not a form", NOW)
        if type(outcome(sendgrid, call)) is not kind:
            failures.append(authorization)
    assert not failures
