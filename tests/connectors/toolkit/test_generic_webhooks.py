import base64
import hashlib
import hmac
import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from pydantic import SecretStr, ValidationError

from connectors.base import (
    Inbound,
    MalformedWebhook,
    Receipt,
    Received,
    UnsignedWebhook,
    UnverifiedWebhook,
    WebhookError,
    WebhookRequest,
)
from connectors.gateway.connector import Gateway
from connectors.toolkit.signatures import sign_standard

NOW = datetime(2024, 11, 1, 14, 0, tzinfo=UTC)
MESSAGE = json.dumps({"from": "+18045551234", "to": "+12016661234", "body": "Hi"}).encode()
REPORT = json.dumps({"id": "m-1", "status": "delivered"}).encode()
OLD, NEW, OTHER = ("whsec_" + letter * 32 for letter in "ABC")
SHARED = "a shared secret"
# The HMAC-SHA256 of a body as Meta documents it: in hexadecimal, with a prefix.
META_BODY = (
    '{"object":"whatsapp_business_account","entry":[{"id":"1","changes":[{"field":"messages",'
    '"value":{"messaging_product":"whatsapp","statuses":[{"id":"wamid.X","status":"delivered",'
    '"timestamp":"1714564800","recipient_id":"14155552671"}]}}]}]}'
)
META_SIGNATURE = "sha256=47d00f4c5b2faf82d6cda26ceb2e78fb523c4f95284d0bcf94fb81b10867b20d"


def call(kind: Any, body: bytes, headers: dict[str, str], at: datetime = NOW) -> WebhookRequest:
    url = f"https://postroom.example.com/api/webhooks/agent/{kind}"
    return WebhookRequest(kind, "POST", url, headers, body, at)


def make(**settings: Any) -> Gateway:
    return Gateway(Gateway.Settings(url="http://127.0.0.1:1", **settings))


def signed(body: bytes, *secrets: str, webhook_id: str = "msg_1") -> dict[str, str]:
    return sign_standard([SecretStr(secret) for secret in secrets], webhook_id, NOW, body)


def test_no_webhook_is_accepted_without_a_secret():
    assert make().webhooks == frozenset()
    assert make(webhook_secrets=[OLD]).webhooks == {"inbound", "status"}


def test_webhook_signed_by_standard_webhooks_is_accepted() -> None:
    rows = [([OLD], [OLD]), ([NEW, OLD], [OLD]), ([NEW, OLD], [NEW]), ([OLD], [NEW, OLD])]
    failures = []
    for ours, theirs in rows:
        connector = make(webhook_secrets=ours)
        [message] = connector.receive(call("inbound", MESSAGE, signed(MESSAGE, *theirs))).items
        [receipt] = connector.receive(call("status", REPORT, signed(REPORT, *theirs))).items
        assert isinstance(message, Inbound)
        assert isinstance(receipt, Receipt)
        found = (message.key, message.body, receipt.key, receipt.kind)
        if found != ("msg_1", "Hi", "msg_1", "delivered"):
            failures.append((ours, theirs, found))
    assert not failures


def test_unverified_webhook_is_rejected_before_it_is_parsed() -> None:
    rows = [
        ({}, MESSAGE, NOW, UnsignedWebhook),
        (signed(MESSAGE, OTHER), MESSAGE, NOW, UnverifiedWebhook),
        (signed(MESSAGE, OLD), MESSAGE + b" ", NOW, UnverifiedWebhook),
        (signed(MESSAGE, OLD), MESSAGE, NOW + timedelta(seconds=301), UnverifiedWebhook),
        (signed(b"{", OTHER), b"{", NOW, UnverifiedWebhook),
        (signed(b"{", OLD), b"{", NOW, MalformedWebhook),
        (signed(b"[]", OLD), b"[]", NOW, MalformedWebhook),
    ]
    failures = []
    for headers, body, at, error in rows:
        with pytest.raises(WebhookError) as raised:
            make(webhook_secrets=[OLD]).receive(call("inbound", body, headers, at))
        if type(raised.value) is not error:
            failures.append((headers, body, raised.value))
    assert not failures


def digest(algorithm: str, secret: str = SHARED, body: bytes = MESSAGE) -> bytes:
    return hmac.digest(secret.encode(), body, algorithm)


def test_webhook_signed_by_hmac_is_accepted() -> None:
    rows = [
        ({}, digest("sha256").hex()),
        ({}, digest("sha256").hex().upper()),
        ({"prefix": "sha256="}, "sha256=" + digest("sha256").hex()),
        ({"algorithm": "sha1"}, digest("sha1").hex()),
        (
            {"algorithm": "sha512", "encoding": "base64"},
            base64.b64encode(digest("sha512")).decode(),
        ),
    ]
    failures = []
    for scheme, signature in rows:
        connector = make(
            webhook_secrets=["another secret", SHARED],
            webhook_hmac={"header": "X-Hub-Signature", **scheme},
        )
        headers = {"x-hub-signature": signature}
        [message] = connector.receive(call("inbound", MESSAGE, headers)).items
        found = (message.key, message.body)
        if found != (hashlib.sha256(MESSAGE).hexdigest(), "Hi"):
            failures.append((scheme, found))
    assert not failures


def test_recorded_signature_is_verified():
    scheme = {"header": "X-Hub-Signature-256", "prefix": "sha256="}
    connector = Gateway(
        Gateway.Settings(url="http://a/", webhook_secrets=["meta_app_secret"], webhook_hmac=scheme)
    )
    headers = {"x-hub-signature-256": META_SIGNATURE}

    with pytest.raises(MalformedWebhook, match="status"):  # verified, but not in our format
        connector.receive(call("status", META_BODY.encode(), headers))
    with pytest.raises(UnverifiedWebhook):
        connector.receive(call("status", META_BODY.encode() + b" ", headers))


def test_any_other_hmac_is_rejected() -> None:
    connector = make(
        webhook_secrets=[SHARED], webhook_hmac={"header": "x-signature", "prefix": "sha256="}
    )
    rows = [
        ({}, UnsignedWebhook),
        ({"x-signature": ""}, UnsignedWebhook),
        ({"x-signature": " "}, UnsignedWebhook),
        ({"x-signature": "sha256="}, UnverifiedWebhook),
        ({"x-signature": digest("sha256").hex()}, UnverifiedWebhook),
        ({"x-signature": "SHA256=" + digest("sha256").hex()}, UnverifiedWebhook),
        ({"x-signature": "sha256=" + digest("sha256", "other").hex()}, UnverifiedWebhook),
        ({"x-signature": "sha256=" + digest("sha256", body=b"{}").hex()}, UnverifiedWebhook),
        ({"x-signature": "sha256=" + digest("sha1").hex()}, UnverifiedWebhook),
        ({"x-signature": "sha256=ё"}, UnverifiedWebhook),
        (signed(MESSAGE, OLD), UnsignedWebhook),
    ]
    failures = []
    for headers, error in rows:
        with pytest.raises(WebhookError) as raised:
            connector.receive(call("inbound", MESSAGE, headers))
        assert SHARED not in str(raised.value)
        if type(raised.value) is not error:
            failures.append((headers, raised.value))
    assert not failures


def test_same_content_counts_again_later_unless_it_has_an_id_or_a_timestamp() -> None:
    connector = make(
        webhook_secrets=[SHARED], webhook_hmac={"header": "x-signature", "repeat_seconds": 60}
    )
    message = {"from": "+18045551234", "to": "+12016661234", "body": "STOP"}
    report: dict[str, Any] = {"uid": "0190f3c2-7a30-7e52-a0cd-6a3c5d0b2f11", "status": "failed"}
    table = [
        ("inbound", message, timedelta(seconds=60)),
        ("inbound", message | {"id": "m-1"}, None),
        ("inbound", message | {"timestamp": "2024-11-01T14:00:00Z"}, None),
        ("status", report, timedelta(seconds=60)),
        ("status", report | {"timestamp": 1730469600}, None),
    ]
    found = []
    for kind, fields, _ in table:
        body = json.dumps(fields).encode()
        signature = hmac.digest(SHARED.encode(), body, "sha256").hex()
        [item] = connector.receive(call(kind, body, {"x-signature": signature})).items
        found.append((kind, fields, item.repeat_window))
    assert found == table


def test_key_identifies_a_webhook() -> None:
    connector = make(webhook_secrets=[SHARED], webhook_hmac={"header": "x-signature"})

    def key(body: bytes) -> str:
        headers = {"x-signature": digest("sha256", body=body).hex()}
        received: Received = connector.receive(call("status", body, headers))
        return received.items[0].key

    assert key(REPORT) == key(REPORT)
    assert key(REPORT) != key(REPORT.replace(b"delivered", b"bounced"))


def test_invalid_settings_are_named_without_showing_secrets() -> None:
    rows = [
        ({"webhook_secrets": ["s3cret"]}, "webhook_secrets: must be whsec_"),
        ({"webhook_secrets": [OLD, NEW, OTHER]}, "webhook_secrets"),
        ({"webhook_secrets": [""], "webhook_hmac": {"header": "X"}}, "webhook_secrets"),
        ({"webhook_hmac": {"header": "X"}}, "webhook_hmac: requires webhook_secrets"),
        ({"webhook_secrets": ["s3cret"], "webhook_hmac": {}}, "webhook_hmac.header"),
        (
            {"webhook_secrets": ["s3cret"], "webhook_hmac": {"header": "X", "algorithm": "md5"}},
            "webhook_hmac.algorithm",
        ),
    ]
    failures = []
    for settings, says in rows:
        with pytest.raises(ValidationError) as raised:
            make(**settings)
        text = str(raised.value)
        if says not in text or "s3cret" in text or "whsec_A" in text:
            failures.append((settings, text))
    assert not failures
