import hashlib
import hmac
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa

from connectors.base import (
    MalformedWebhook,
    Receipt,
    Received,
    UnsignedWebhook,
    UnverifiedWebhook,
    WebhookRequest,
)
from connectors.sba.connector import Sba
from tests.connectors.receiving import next_webhook, outcome
from tests.connectors.sba.callbacks import (
    DEPOSITED,
    DEPOSITED_CHECKSUM,
    DEPOSITED_SIGNATURE,
    PUBLIC_KEY,
    REFUNDED,
    REFUNDED_CHECKSUM,
    SECRET,
    URL,
    checksum_of,
    get,
    pem_of,
    post,
    signed,
)
from tests.connectors.sba.payments import payment

METHODS = (get, post)


@pytest.fixture
def sba(make_sba) -> Sba:
    return make_sba(webhook_secrets=[SECRET])


def receipt_of(sba: Sba, request: WebhookRequest) -> Receipt:
    """Return the only receipt of a callback."""
    received = sba.receive(request)
    assert (received.response.status, received.response.body) == (200, b"")
    [receipt] = received.items
    assert isinstance(receipt, Receipt)
    return receipt


# Checksums


def test_callback_with_a_valid_checksum_is_read(sba):
    table: list[tuple[dict[str, str], str]] = [
        (DEPOSITED, DEPOSITED_CHECKSUM),
        (REFUNDED, REFUNDED_CHECKSUM),
        (DEPOSITED, DEPOSITED_CHECKSUM.lower()),
        ({**DEPOSITED, "sign_alias": "any"}, DEPOSITED_CHECKSUM),
    ]
    for parameters, checksum in table:
        for method in METHODS:
            receipt = receipt_of(sba, method({**parameters, "checksum": checksum}))

            assert receipt.kind == "delivered"
            assert receipt.provider_message_id == parameters["mdOrder"]
            assert receipt.code == parameters["operation"]
            stored = {name: value for name, value in parameters.items() if name != "sign_alias"}
            assert receipt.payload == stored


def test_callback_signed_by_the_bank_is_read(make_sba):
    sba = make_sba(webhook_certificates=[PUBLIC_KEY])
    parameters = {**DEPOSITED, "checksum": DEPOSITED_SIGNATURE, "sign_alias": "x"}

    for method in METHODS:
        assert receipt_of(sba, method(parameters)).provider_message_id == DEPOSITED["mdOrder"]


def certificate_of(key: rsa.RSAPrivateKey) -> str:
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "bank.test")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now)
        .not_valid_after(now + timedelta(days=1))
        .sign(key, hashes.SHA256())
    )
    return certificate.public_bytes(serialization.Encoding.PEM).decode()


def test_bank_is_known_by_its_public_key_or_its_certificate(make_sba):
    key = rsa.generate_private_key(65537, 2048)
    text = "".join(f"{name};{value};" for name, value in sorted(REFUNDED.items())).encode()
    signature = key.sign(text, padding.PKCS1v15(), hashes.SHA512()).hex()

    for pem in (pem_of(key), certificate_of(key)):
        sba = make_sba(webhook_certificates=[PUBLIC_KEY, pem])
        assert sba.receive(get({**REFUNDED, "checksum": signature})).items
        altered = get({**REFUNDED, "amount": "1", "checksum": signature})
        assert isinstance(outcome(sba, altered), UnverifiedWebhook)


def test_both_secrets_are_valid_during_a_rotation_and_give_the_same_key(make_sba):
    sba = make_sba(webhook_secrets=["another", SECRET])

    keys = {
        receipt_of(sba, method({**DEPOSITED, "checksum": checksum_of(DEPOSITED, secret)})).key
        for method in METHODS
        for secret in ("another", SECRET)
    }

    assert len(keys) == 1


def test_callback_is_read_only_with_a_checksum_of_all_its_parameters(sba):
    table: list[tuple[Any, type]] = [
        (DEPOSITED, UnsignedWebhook),
        ({}, UnsignedWebhook),
        ({**DEPOSITED, "checksum": ""}, UnsignedWebhook),
        ({**DEPOSITED, "checksum": REFUNDED_CHECKSUM}, UnverifiedWebhook),
        ({**DEPOSITED, "checksum": DEPOSITED_SIGNATURE}, UnverifiedWebhook),
        ({**DEPOSITED, "checksum": DEPOSITED_CHECKSUM[:-2]}, UnverifiedWebhook),
        ({**DEPOSITED, "checksum": "not hexadecimal"}, UnverifiedWebhook),
        ({**DEPOSITED, "checksum": "é"}, UnverifiedWebhook),
        ({**DEPOSITED, "amount": "1", "checksum": DEPOSITED_CHECKSUM}, UnverifiedWebhook),
        ({**DEPOSITED, "extra": "1", "checksum": DEPOSITED_CHECKSUM}, UnverifiedWebhook),
        ([*signed(DEPOSITED).items(), ("checksum", "00")], UnverifiedWebhook),
        ([*signed(DEPOSITED).items(), ("status", "1")], UnverifiedWebhook),
        (signed({**DEPOSITED, "orderNumber": "ё 1&2"}), Received),
        (signed({**DEPOSITED, "unknown": ""}), Received),
    ]
    failures = [
        (method.__name__, parameters)
        for parameters, kind in table
        for method in METHODS
        if type(outcome(sba, method(parameters))) is not kind
    ]
    assert not failures


def test_separators_in_a_value_cannot_forge_another_parameter(sba):
    """`status;0` after the order number `A;status;1` must not be read as a payment."""
    honest = {**DEPOSITED, "orderNumber": "A;status;1", "status": "0"}
    assert receipt_of(sba, get(signed(honest))).kind == "deferred"

    forged = [(name, value) for name, value in honest.items() if name != "orderNumber"]
    forged += [("orderNumber", "A"), ("status", "1"), ("checksum", checksum_of(honest))]
    assert isinstance(outcome(sba, get(forged)), UnverifiedWebhook | MalformedWebhook)


def test_signed_callback_with_a_repeated_parameter_is_malformed(sba):
    text = "operation;deposited;status;0;status;1;"
    checksum = hmac.new(SECRET.encode(), text.encode(), hashlib.sha256).hexdigest()
    repeated = [("operation", "deposited"), ("status", "0"), ("status", "1")]

    request = get([*repeated, ("checksum", checksum)])

    assert isinstance(outcome(sba, request), MalformedWebhook)


def test_post_without_a_form_is_unsigned(sba):
    urls = [URL] * 4 + [get(signed(DEPOSITED)).url]
    bodies = [b"\xff=1", b"{}", b"a=%ff", b"&" * 2000, b""]
    for url, body in zip(urls, bodies, strict=True):
        request = WebhookRequest("status", "POST", url, {}, body, datetime.now(UTC))
        assert isinstance(outcome(sba, request), UnsignedWebhook)


def test_webhook_is_enabled_by_a_secret_or_a_certificate(make_sba):
    assert make_sba().webhooks == set()
    assert make_sba(webhook_secrets=[SECRET]).webhooks == {"status"}
    assert make_sba(webhook_certificates=[PUBLIC_KEY]).webhooks == {"status"}


# Receipts


def test_every_operation_and_status_becomes_a_receipt(sba):
    table = [
        ("created", "1", "queued"),
        ("approved", "1", "sent"),
        ("approved", "0", "deferred"),
        ("deposited", "1", "delivered"),
        ("deposited", "0", "deferred"),
        ("reversed", "1", "failed"),
        ("reversed", "0", "deferred"),
        ("refunded", "1", "delivered"),
        ("refunded", "0", "deferred"),
        ("declinedByTimeout", "0", "failed"),
        ("declinedByTimeout", "1", "failed"),
        ("declinedCardpresent", "0", "failed"),
        ("bindingCreated", "1", "unrecognised"),
        ("subscriptionCreated", "1", "unrecognised"),
        ("", "1", "unrecognised"),
        ("deposited", "", "deferred"),
    ]
    failures = []
    for operation, status, kind in table:
        parameters = signed({**DEPOSITED, "operation": operation, "status": status})
        receipt = receipt_of(sba, get(parameters))
        if (receipt.kind, receipt.code, receipt.suppress) != (kind, operation, False):
            failures.append(receipt)
    assert not failures


def test_repeated_callback_has_the_same_key_and_any_other_has_another(sba):
    callbacks = [
        DEPOSITED,
        {**DEPOSITED, "status": "0"},
        {**DEPOSITED, "operation": "refunded"},
        {**DEPOSITED, "operation": "refunded", "amount": "1"},
        {**DEPOSITED, "mdOrder": "another"},
    ]

    first, again = (
        [receipt_of(sba, method(signed(parameters))).key for parameters in callbacks]
        for method in METHODS
    )

    assert first == again
    assert len(set(first)) == len(callbacks)


def test_date_is_read_if_its_time_zone_is_known(sba):
    dates = {
        "Mon Jan 31 21:46:52 UTC 2022": datetime(2022, 1, 31, 21, 46, 52, tzinfo=UTC),
        "Mon Jan 31 21:46:52 MSK 2022": None,
        "yesterday": None,
        "": None,
    }
    found = {
        date: receipt_of(sba, get(signed({**DEPOSITED, "callbackCreationDate": date}))).occurred_at
        for date in dates
    }
    assert found == dates


def test_callback_of_the_simulated_bank_is_verified(make_sba, doubles, listener, pay):
    for api in ("rest", "gateway"):
        sba = make_sba(
            url=f"{doubles.http_url}/sba",
            api=api,
            callback_url=f"{listener.url}/hook",
            webhook_secrets=["sandbox-callback-key"],
        )
        message = payment()
        order_id = sba.send(message).provider_message_id

        pay(message.recipient)

        receipt = receipt_of(sba, next_webhook(listener, "status"))
        assert (receipt.kind, receipt.provider_message_id) == ("delivered", order_id)
        assert receipt.occurred_at is not None
