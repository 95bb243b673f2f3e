import base64
import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from queue import Queue
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from pydantic import ValidationError

from connectors.base import (
    MalformedWebhook,
    Receipt,
    UnsignedWebhook,
    UnverifiedWebhook,
    WebhookRequest,
)
from connectors.sendgrid.connector import SendGrid, SendGridSettings
from tests.doubles.client import running_doubles
from tests.doubles.sendgrid import API_KEY
from tests.doubles.sendgrid_webhooks import PUBLIC_KEY

UID = "0190f3c2-7a30-7e52-a0cd-6a3c5d0b2f11"
NOW = datetime(2023, 11, 14, 22, 13, 21, tzinfo=UTC)
SIGNATURE = "x-twilio-email-event-webhook-signature"
TIMESTAMP = "x-twilio-email-event-webhook-timestamp"

# Computed apart from this project, by the scheme as SendGrid's own library has it.
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


def public_half(key: ec.EllipticCurvePrivateKey) -> str:
    der = key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return base64.b64encode(der).decode()


OURS, OTHER = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))


def connector_with(*keys: str) -> SendGrid:
    return SendGrid(SendGridSettings(api_key="SG.key", event_public_keys=keys))


def call_with(body: bytes, headers: dict[str, str]) -> WebhookRequest:
    url = "https://relay.example.com/api/webhooks/sendgrid/status"
    return WebhookRequest("status", "POST", url, headers, body, NOW)


def signed(
    body: bytes, key: ec.EllipticCurvePrivateKey = OURS, timestamp: str = "1700000001"
) -> WebhookRequest:
    signature = key.sign(timestamp.encode() + body, ec.ECDSA(SHA256()))
    headers = {SIGNATURE: base64.b64encode(signature).decode(), TIMESTAMP: timestamp}
    return call_with(body, headers)


@pytest.fixture
def receipts_of() -> Callable[..., list[Receipt]]:
    connector = connector_with(public_half(OURS))

    def read(*events: dict[str, Any]) -> list[Receipt]:
        return list(connector.receive(signed(json.dumps(events).encode() + b"\r\n")).items)

    return read


def test_a_signature_of_another_maker_is_verified_byte_for_byte():
    call = call_with(VECTOR_BODY, {SIGNATURE: VECTOR_SIGNATURE, TIMESTAMP: "1700000001"})

    received = connector_with(VECTOR_KEY).receive(call)

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


def test_either_of_two_keys_verifies_while_one_replaces_the_other():
    connector = connector_with(public_half(OTHER), public_half(OURS))

    assert connector.receive(signed(b"[]", OURS)).items == []
    assert connector.receive(signed(b"[]", OTHER)).items == []


def altered(**changes: str | bytes | None) -> WebhookRequest:
    """A good call with something in it changed, or taken away."""
    good = signed(b'[{"event": "open"}]\r\n')
    headers = {**good.headers, **{k: v for k, v in changes.items() if k in (SIGNATURE, TIMESTAMP)}}
    headers = {name: value for name, value in headers.items() if value is not None}
    body = changes.get("body", good.body)
    assert isinstance(body, bytes)
    return call_with(body, headers)


@pytest.mark.parametrize(
    ("call", "error"),
    [
        (altered(**{SIGNATURE: None}), UnsignedWebhook),
        (altered(**{TIMESTAMP: None}), UnsignedWebhook),
        (altered(**{SIGNATURE: ""}), UnsignedWebhook),
        (altered(**{TIMESTAMP: ""}), UnsignedWebhook),
        (altered(body=b'[{"event": "open"}]\n'), UnverifiedWebhook),
        (altered(body=b'[{"event":"open"}]\r\n'), UnverifiedWebhook),
        (altered(body=b""), UnverifiedWebhook),
        (altered(**{TIMESTAMP: "1700000002"}), UnverifiedWebhook),
        (altered(**{SIGNATURE: "not base64!"}), UnverifiedWebhook),
        (altered(**{SIGNATURE: "é"}), UnverifiedWebhook),
        (altered(**{SIGNATURE: "AAAA"}), UnverifiedWebhook),
        (altered(**{SIGNATURE: VECTOR_SIGNATURE}), UnverifiedWebhook),
        (signed(b"[]", OTHER), UnverifiedWebhook),
        (signed(b"[]", timestamp="soon"), UnverifiedWebhook),
        (signed(b"[]", timestamp="-1700000001"), UnverifiedWebhook),
        (signed(b"[]", timestamp="1700000001.5"), UnverifiedWebhook),
    ],
)
def test_a_call_that_is_not_signed_as_it_is_is_refused(call, error):
    with pytest.raises(error):
        connector_with(public_half(OURS)).receive(call)


@pytest.mark.parametrize(
    ("age", "taken"),
    [
        (timedelta(minutes=10), True),
        (timedelta(minutes=10, seconds=1), False),
        (-timedelta(minutes=10), True),
        (-timedelta(minutes=10, seconds=1), False),
    ],
)
def test_a_signature_is_good_for_ten_minutes(age, taken):
    call = signed(b"[]", timestamp=str(int((NOW - age).timestamp())))
    connector = connector_with(public_half(OURS))

    if taken:
        assert connector.receive(call).items == []
    else:
        with pytest.raises(UnverifiedWebhook, match="ten minutes"):
            connector.receive(call)


def test_without_a_key_no_call_is_taken():
    connector = connector_with()

    assert connector.webhooks == frozenset()
    with pytest.raises(UnsignedWebhook):
        connector.receive(signed(b"[]"))
    assert connector_with(public_half(OURS)).webhooks == {"status"}


@pytest.mark.parametrize("body", [b"", b"{}", b"[1]", b"[{}, null]", b"[" * 9999, b"\xff"])
def test_a_signed_call_that_holds_no_events_is_malformed(body):
    with pytest.raises(MalformedWebhook):
        connector_with(public_half(OURS)).receive(signed(body))


@pytest.mark.parametrize(
    ("event", "kind", "suppress", "code", "detail"),
    [
        ({"event": "processed", "send_at": 1700000000}, "queued", False, None, None),
        (
            {"event": "deferred", "response": "451 later", "attempt": "5"},
            "deferred",
            False,
            None,
            "451 later",
        ),
        (
            {"event": "delivered", "response": "250 OK", "tls": 1},
            "delivered",
            False,
            None,
            "250 OK",
        ),
        (
            {
                "event": "bounce",
                "type": "bounce",
                "status": "5.1.1",
                "reason": "550 5.1.1 no ann@example.org here",
                "bounce_classification": "Invalid Address",
            },
            "bounced",
            True,
            "5.1.1",
            "550 5.1.1 no *** here",
        ),
        (
            {"event": "bounce", "type": "blocked", "status": "4.7.1", "reason": "try later"},
            "bounced",
            False,
            "4.7.1",
            "try later",
        ),
        ({"event": "bounce", "status": "5.0.0"}, "bounced", False, "5.0.0", None),
        (
            {"event": "dropped", "reason": "Bounced Address"},
            "failed",
            False,
            None,
            "Bounced Address",
        ),
        ({"event": "spamreport"}, "complained", True, None, None),
        ({"event": "unsubscribe"}, "unsubscribed", "opt_out", None, None),
        ({"event": "group_unsubscribe", "asm_group_id": 10}, "unsubscribed", False, None, None),
        ({"event": "group_resubscribe", "asm_group_id": 10}, "resubscribed", False, None, None),
        ({"event": "open", "useragent": "x", "sg_machine_open": True}, "opened", False, None, None),
        ({"event": "click", "url": "https://example.com/"}, "clicked", False, None, None),
        ({"event": "account_status_change"}, "unrecognised", False, None, None),
        ({"event": "something new", "status": 5}, "unrecognised", False, None, None),
        ({"event": ["bounce"], "type": "bounce"}, "unrecognised", False, None, None),
        ({}, "unrecognised", False, None, None),
    ],
)
def test_each_event_says_what_it_means(receipts_of, event, kind, suppress, code, detail):
    common = {
        "email": "ann@example.org",
        "timestamp": 1700000000,
        "sg_event_id": "e-1",
        "sg_message_id": "14c5d75ce93.filter0001.16648.5515E0B88.0",
        "postroom_uid": UID,
        "category": ["news"],
    }

    [receipt] = receipts_of({**common, **event})

    assert receipt == Receipt(
        key="e-1",
        kind=kind,
        provider_message_id="14c5d75ce93",
        message_uid=UID,
        recipient="ann@example.org",
        occurred_at=datetime(2023, 11, 14, 22, 13, 20, tzinfo=UTC),
        code=code,
        detail=detail,
        suppress=suppress,
        payload={**common, **event},
    )


def test_a_batch_is_read_in_its_order(receipts_of):
    batch = [{"event": "processed", "sg_event_id": str(n)} for n in range(500)]

    assert [receipt.key for receipt in receipts_of(*batch)] == [str(n) for n in range(500)]


def test_an_event_without_an_id_is_known_by_what_it_says(receipts_of):
    dropped = {"event": "dropped", "email": "ann@example.org", "reason": "Invalid"}

    first, again, other = receipts_of(
        dropped, dict(reversed(dropped.items())), {**dropped, "email": "bob@example.org"}
    )

    assert first.key == again.key
    assert first.key != other.key


@pytest.mark.parametrize("uid", [None, "", 7, "0190f3c2", f"{UID}'", [UID]])
def test_what_is_no_uid_of_ours_is_none(receipts_of, uid):
    [receipt] = receipts_of({"event": "open", "postroom_uid": uid})

    assert receipt.message_uid is None


@pytest.mark.parametrize("timestamp", [None, "1700000000", 1e30, -1e30, [], {}])
def test_an_illegible_timestamp_is_none(receipts_of, timestamp):
    [receipt] = receipts_of({"event": "open", "timestamp": timestamp})

    assert receipt.occurred_at is None


@pytest.mark.parametrize(
    "key",
    [
        "",
        "s3cret",
        "s3crёt",
        base64.b64encode(b"s3cret").decode(),
        VECTOR_KEY[:-8],
        f"-----BEGIN PUBLIC KEY-----\n{VECTOR_KEY}\n-----END PUBLIC KEY-----",
        public_half(ec.generate_private_key(ec.SECP384R1())),
    ],
)
def test_what_is_no_p256_key_is_refused_without_being_shown(key):
    with pytest.raises(ValidationError, match="event_public_keys") as raised:
        connector_with(key)

    assert "not a P-256 public key" in str(raised.value)
    assert "s3cr" not in str(raised.value)


def test_the_simulators_events_are_verified_and_name_the_mail(provider, make_message):
    arrived = Queue[None]()

    def take(handler: Any) -> None:
        handler.wfile.write(b"HTTP/1.1 204 No Content\r\n\r\n")
        arrived.put(None)

    provider.behave = take
    mail = make_message(
        uid=UID,
        channel="email",
        recipient="engaged@example.org",
        cc=("bounce@example.org",),
        subject="Hi",
    )
    with running_doubles() as sandbox:
        webhook = {"url": f"{provider.url}/status"}
        sandbox.session.put(f"{sandbox.http_url}/sendgrid/_webhook", json=webhook, timeout=30)
        settings = SendGridSettings(
            api_key=API_KEY,
            base_url=f"{sandbox.http_url}/sendgrid",
            sender="shop@example.com",
            event_public_keys=[PUBLIC_KEY],
            allow_networks=["loopback"],
        )
        connector = SendGrid(settings)
        accepted = connector.send(mail)
        arrived.get(timeout=30)
        connector.close()

    [got] = provider.received
    headers = {name.lower(): value for name, value in got.headers.items()}
    call = WebhookRequest("status", got.method, got.path, headers, got.body, datetime.now(UTC))
    receipts = connector.receive(call).items
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


def test_at_most_two_keys_are_valid_at_once():
    with pytest.raises(ValidationError, match="event_public_keys"):
        connector_with(*[VECTOR_KEY] * 3)
