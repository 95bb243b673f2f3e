"""How calls to the generic connectors are verified."""

import base64
import hashlib
import hmac
import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from pydantic import SecretStr, ValidationError

from connectors.api.connector import Api
from connectors.base import (
    Inbound,
    MalformedWebhook,
    Receipt,
    Received,
    UnsignedWebhook,
    UnverifiedWebhook,
    WebhookRequest,
)
from connectors.gateway.connector import Gateway
from connectors.toolkit.signatures import sign_standard

NOW = datetime(2024, 11, 1, 14, 0, tzinfo=UTC)
MESSAGE = json.dumps({"from": "+18045551234", "to": "+12016661234", "body": "Hi"}).encode()
REPORT = json.dumps({"id": "m-1", "status": "delivered"}).encode()
OLD, NEW, OTHER = ("whsec_" + letter * 32 for letter in "ABC")
SHARED = "a shared secret"
# HMAC-SHA256 of a body of Meta's, as its own documentation has it written: hexadecimal, prefixed.
META_BODY = (
    '{"object":"whatsapp_business_account","entry":[{"id":"1","changes":[{"field":"messages",'
    '"value":{"messaging_product":"whatsapp","statuses":[{"id":"wamid.X","status":"delivered",'
    '"timestamp":"1714564800","recipient_id":"14155552671"}]}}]}]}'
)
META_SIGNATURE = "sha256=47d00f4c5b2faf82d6cda26ceb2e78fb523c4f95284d0bcf94fb81b10867b20d"


def call(kind: Any, body: bytes, headers: dict[str, str], at: datetime = NOW) -> WebhookRequest:
    url = f"https://postroom.example.com/api/webhooks/agent/{kind}"
    return WebhookRequest(kind, "POST", url, headers, body, at)


@pytest.fixture(params=["api", "gateway"])
def make(request):
    def make(**settings: Any) -> Api | Gateway:
        if request.param == "api":
            return Api(Api.Settings(uri="http://127.0.0.1:1", **settings))
        return Gateway(Gateway.Settings(url="http://127.0.0.1:1", **settings))

    return make


def signed(body: bytes, *secrets: str, webhook_id: str = "msg_1") -> dict[str, str]:
    return sign_standard([SecretStr(secret) for secret in secrets], webhook_id, NOW, body)


def test_no_webhook_is_accepted_without_a_secret(make):
    assert make().webhooks == frozenset()
    assert make(webhook_secrets=[OLD]).webhooks == {"inbound", "status"}


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [([OLD], [OLD]), ([NEW, OLD], [OLD]), ([NEW, OLD], [NEW]), ([OLD], [NEW, OLD])],
)
def test_webhook_signed_by_standard_webhooks_is_accepted(make, ours, theirs):
    connector = make(webhook_secrets=ours)

    [message] = connector.receive(call("inbound", MESSAGE, signed(MESSAGE, *theirs))).items
    [receipt] = connector.receive(call("status", REPORT, signed(REPORT, *theirs))).items

    assert isinstance(message, Inbound)
    assert isinstance(receipt, Receipt)
    assert (message.key, message.body) == ("msg_1", "Hi")
    assert (receipt.key, receipt.kind) == ("msg_1", "delivered")


@pytest.mark.parametrize(
    ("headers", "body", "at", "error"),
    [
        ({}, MESSAGE, NOW, UnsignedWebhook),
        (signed(MESSAGE, OTHER), MESSAGE, NOW, UnverifiedWebhook),
        (signed(MESSAGE, OLD), MESSAGE + b" ", NOW, UnverifiedWebhook),
        (signed(MESSAGE, OLD), MESSAGE, NOW + timedelta(seconds=301), UnverifiedWebhook),
        (signed(b"{", OTHER), b"{", NOW, UnverifiedWebhook),
        (signed(b"{", OLD), b"{", NOW, MalformedWebhook),
        (signed(b"[]", OLD), b"[]", NOW, MalformedWebhook),
    ],
)
def test_unverified_webhook_is_rejected_before_it_is_parsed(make, headers, body, at, error):
    with pytest.raises(error):
        make(webhook_secrets=[OLD]).receive(call("inbound", body, headers, at))


def digest(algorithm: str, secret: str = SHARED, body: bytes = MESSAGE) -> bytes:
    return hmac.digest(secret.encode(), body, algorithm)


@pytest.mark.parametrize(
    ("scheme", "signature"),
    [
        ({}, digest("sha256").hex()),
        ({}, digest("sha256").hex().upper()),
        ({"prefix": "sha256="}, "sha256=" + digest("sha256").hex()),
        ({"algorithm": "sha1"}, digest("sha1").hex()),
        (
            {"algorithm": "sha512", "encoding": "base64"},
            base64.b64encode(digest("sha512")).decode(),
        ),
    ],
)
def test_webhook_signed_by_hmac_is_accepted(make, scheme, signature):
    connector = make(
        webhook_secrets=["another secret", SHARED],
        webhook_hmac={"header": "X-Hub-Signature", **scheme},
    )

    [message] = connector.receive(call("inbound", MESSAGE, {"x-hub-signature": signature})).items

    assert (message.key, message.body) == (hashlib.sha256(MESSAGE).hexdigest(), "Hi")


def test_recorded_signature_is_verified():
    scheme = {"header": "X-Hub-Signature-256", "prefix": "sha256="}
    connector = Gateway(
        Gateway.Settings(url="http://a/", webhook_secrets=["meta_app_secret"], webhook_hmac=scheme)
    )
    headers = {"x-hub-signature-256": META_SIGNATURE}

    with pytest.raises(MalformedWebhook, match="status"):  # verified, but in words of Meta's own
        connector.receive(call("status", META_BODY.encode(), headers))
    with pytest.raises(UnverifiedWebhook):
        connector.receive(call("status", META_BODY.encode() + b" ", headers))


@pytest.mark.parametrize(
    ("headers", "error"),
    [
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
    ],
)
def test_any_other_hmac_is_rejected(make, headers, error):
    connector = make(
        webhook_secrets=[SHARED], webhook_hmac={"header": "x-signature", "prefix": "sha256="}
    )

    with pytest.raises(error) as raised:
        connector.receive(call("inbound", MESSAGE, headers))

    assert SHARED not in str(raised.value)


def test_key_identifies_a_webhook(make):
    connector = make(webhook_secrets=[SHARED], webhook_hmac={"header": "x-signature"})

    def key(body: bytes) -> str:
        headers = {"x-signature": digest("sha256", body=body).hex()}
        received: Received = connector.receive(call("status", body, headers))
        return received.items[0].key

    assert key(REPORT) == key(REPORT)
    assert key(REPORT) != key(REPORT.replace(b"delivered", b"bounced"))


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"webhook_secrets": ["s3cret"]}, "webhook_secrets: must be whsec_"),
        ({"webhook_secrets": [OLD, NEW, OTHER]}, "webhook_secrets"),
        ({"webhook_secrets": [""], "webhook_hmac": {"header": "X"}}, "webhook_secrets"),
        ({"webhook_hmac": {"header": "X"}}, "webhook_hmac: requires webhook_secrets"),
        ({"webhook_secrets": ["s3cret"], "webhook_hmac": {}}, "webhook_hmac.header"),
        (
            {"webhook_secrets": ["s3cret"], "webhook_hmac": {"header": "X", "algorithm": "md5"}},
            "webhook_hmac.algorithm",
        ),
    ],
)
def test_invalid_settings_are_named_without_showing_secrets(make, settings, says):
    with pytest.raises(ValidationError, match=says) as raised:
        make(**settings)

    assert "s3cret" not in str(raised.value)
    assert "whsec_A" not in str(raised.value)
