import hashlib
import hmac
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from queue import SimpleQueue
from typing import Any
from urllib.parse import urlencode

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from pydantic import ValidationError

from connectors.base import (
    MalformedWebhook,
    Receipt,
    UnsignedWebhook,
    UnverifiedWebhook,
    WebhookRequest,
)
from connectors.sba.connector import SbaSettings
from tests.connectors.sba.payments import payment

URL = "https://postroom.test/api/webhooks/sba/status"
SECRET = "yourSecretToken"
MD_ORDER = "3ff6962a-7dcc-4283-ab50-a6d7dd3386fe"
DEPOSITED = {
    "mdOrder": MD_ORDER,
    "orderNumber": "10747",
    "operation": "deposited",
    "status": "1",
    "amount": "123456",
}
REFUNDED = {
    "mdOrder": "0b5c1a7e-6d0d-4f0e-9b38-3c8f6f6d1e11",
    "orderNumber": "INV-42",
    "operation": "refunded",
    "status": "1",
    "callbackCreationDate": "Mon Jan 31 21:46:52 UTC 2022",
}
# The checksums of these two with that secret, and of the first with this key.
DEPOSITED_CHECKSUM = "51C892147225ABE87798CB02979D70EF46D0AE79B5AA3B28B1C260BE286C50A9"
REFUNDED_CHECKSUM = "F74FD503E0743D8176E7FA70BB71AFE0E9846132C198DB5A5D1567518D033ABB"
DEPOSITED_SIGNATURE = (
    "06AB6233E9906637C0EAD1748F6066EB1B92B43FD43F6CB31B888FF90764E27F23581138B417E1BA78A027A1"
    "876CE60579887391F0251B6232B38FD81CAEA8A15AF1B766E3EE5507614D1FBC70ECAB644ECB460C6B4C86B8"
    "C8AAEBC92D2FA2124B710B74DCC75722D05029417AB8987B58CD2239D1783764FBC4FF9C12CDC9E106BEDF34"
    "5D47F1D6893B947F4CCDD79EB60A30C1A1A16038A3C9396F87376BDA404ADB179A72D559C19A3B82A7C60F66"
    "7C0EADD3485F870AF7DAB55C6823F444A7605F8453F26A71FC799A55F69BEAA19E828FA9060DA129EF5C9693"
    "64ECE358119B5CFB8952FC616F29315472A31656FB34E4F4431A3B862E9679288F02B78E"
)
PUBLIC_KEY = """\
-----BEGIN PUBLIC KEY-----
MIIBIjANBgkqhkiG9w0BAQEFAAOCAQ8AMIIBCgKCAQEAptShwSGuQreE3tTpDyrI
/6I305yHDj5/fKPZii5tXz4tqM3P5M79IjC0MJUfTRh+kl9hDITyMf+EuCpnWH1B
2cPAOaGL+yesAM2Sy6NKHpxkHko0cWhQ6DcPe/4dIrcM5rWCr2w7dsXgK2IPEITD
JqIF7OQaOp0fsvHEQhIwMD/55/zNnYBzmkEqn1qcuMSSVeTcLLia9yr2qKChx9Vm
+RWaxFFyA0xqgC68Rgbvbh801mTiDRU/jGbeGzJveM66+wDcf0y7yjexhYGlbpb9
Z0KBUTsXJcqecCgM79T22hSq+yHKkuSE8O+dkMZ2NMyJwys+0mbxGqtyZ52VGGSP
2QIDAQAB
-----END PUBLIC KEY-----
"""


def checksum_of(parameters: dict[str, str], secret: str = SECRET) -> str:
    text = "".join(f"{name};{value};" for name, value in sorted(parameters.items()))
    return hmac.new(secret.encode(), text.encode(), hashlib.sha256).hexdigest().upper()


def get(parameters: Any) -> WebhookRequest:
    url = f"{URL}?{urlencode(parameters)}"
    return WebhookRequest("status", "GET", url, {}, b"", datetime.now(UTC))


def post(parameters: Any) -> WebhookRequest:
    headers = {"content-type": "application/x-www-form-urlencoded"}
    body = urlencode(parameters).encode()
    return WebhookRequest("status", "POST", URL, headers, body, datetime.now(UTC))


@pytest.fixture(params=[get, post])
def call(request) -> Callable[..., WebhookRequest]:
    """Makes a call in either of the ways that the bank has."""
    return request.param


@pytest.fixture
def receive(make_sba) -> Callable[[WebhookRequest], Receipt]:
    sba = make_sba(webhook_secrets=[SECRET])

    def _receive(request: WebhookRequest) -> Receipt:
        received = sba.receive(request)
        assert (received.response.status, received.response.body) == (200, b"")
        [item] = received.items
        assert isinstance(item, Receipt)
        return item

    return _receive


def signed(parameters: dict[str, str]) -> dict[str, str]:
    return {**parameters, "checksum": checksum_of(parameters)}


@pytest.mark.parametrize(
    ("parameters", "checksum"),
    [
        (DEPOSITED, DEPOSITED_CHECKSUM),
        (REFUNDED, REFUNDED_CHECKSUM),
        (DEPOSITED, DEPOSITED_CHECKSUM.lower()),
        ({**DEPOSITED, "sign_alias": "any"}, DEPOSITED_CHECKSUM),
    ],
)
def test_a_call_with_the_right_checksum_is_read(receive, call, parameters, checksum):
    receipt = receive(call({**parameters, "checksum": checksum}))

    assert receipt.kind == "delivered"
    assert receipt.provider_message_id == parameters["mdOrder"]
    assert receipt.code == parameters["operation"]
    shown = {name: value for name, value in parameters.items() if name != "sign_alias"}
    assert receipt.payload == shown


def test_a_call_signed_by_the_bank_is_read(make_sba, call):
    sba = make_sba(webhook_certificates=[PUBLIC_KEY])

    received = sba.receive(call({**DEPOSITED, "checksum": DEPOSITED_SIGNATURE, "sign_alias": "x"}))

    assert received.items[0].provider_message_id == MD_ORDER


def pem_of(key: Any) -> str:
    encoding, form = serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    return key.public_key().public_bytes(encoding, form).decode()


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


@pytest.fixture(scope="module")
def bank_key() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(65537, 2048)


@pytest.mark.parametrize("pem_of_bank", [pem_of, certificate_of])
def test_the_bank_is_known_by_its_key_or_its_certificate(make_sba, bank_key, pem_of_bank):
    sba = make_sba(webhook_certificates=[PUBLIC_KEY, pem_of_bank(bank_key)])
    text = "".join(f"{name};{value};" for name, value in sorted(REFUNDED.items())).encode()
    signature = bank_key.sign(text, padding.PKCS1v15(), hashes.SHA512()).hex()

    assert sba.receive(get({**REFUNDED, "checksum": signature})).items

    with pytest.raises(UnverifiedWebhook):
        sba.receive(get({**REFUNDED, "amount": "1", "checksum": signature}))


def test_two_secrets_are_valid_while_one_replaces_the_other(make_sba, call):
    sba = make_sba(webhook_secrets=["another", SECRET])

    for secret in ("another", SECRET):
        checksum = checksum_of(DEPOSITED, secret)
        assert sba.receive(call({**DEPOSITED, "checksum": checksum})).items


@pytest.mark.parametrize(
    ("parameters", "error"),
    [
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
        (signed({**DEPOSITED, "orderNumber": "ё 1&2"}), None),
        (signed({**DEPOSITED, "unknown": ""}), None),
    ],
)
def test_only_what_is_signed_as_it_stands_is_read(receive, call, parameters, error):
    if error is None:
        assert receive(call(parameters)).kind == "delivered"
    else:
        with pytest.raises(error):
            receive(call(parameters))


def test_no_status_is_smuggled_in_through_the_separator(receive):
    """`status;0` after an order number `A;status;1` must not be read as a payment."""
    honest = {**DEPOSITED, "orderNumber": "A;status;1", "status": "0"}
    assert receive(get(signed(honest))).kind == "deferred"

    forged = [(name, value) for name, value in honest.items() if name != "orderNumber"]
    forged += [("orderNumber", "A"), ("status", "1"), ("checksum", checksum_of(honest))]
    with pytest.raises((UnverifiedWebhook, MalformedWebhook)):
        receive(get(forged))


def test_a_signed_call_with_a_parameter_given_twice_is_refused(receive):
    text = "operation;deposited;status;0;status;1;"
    checksum = hmac.new(SECRET.encode(), text.encode(), hashlib.sha256).hexdigest()
    twice = [("operation", "deposited"), ("status", "0"), ("status", "1"), ("checksum", checksum)]

    with pytest.raises(MalformedWebhook):
        receive(get(twice))


@pytest.mark.parametrize("body", [b"\xff=1", b"{}", b"a=%ff", b"&" * 2000])
def test_a_body_that_is_no_form_is_unsigned(receive, body):
    call = WebhookRequest("status", "POST", URL, {}, body, datetime.now(UTC))

    with pytest.raises(UnsignedWebhook):
        receive(call)


def test_the_address_of_a_post_is_not_its_form(receive):
    call = WebhookRequest("status", "POST", get(signed(DEPOSITED)).url, {}, b"", datetime.now(UTC))

    with pytest.raises(UnsignedWebhook):
        receive(call)


@pytest.mark.parametrize(
    ("operation", "status", "kind"),
    [
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
    ],
)
def test_what_the_bank_reports_as_a_receipt(receive, call, operation, status, kind):
    receipt = receive(call(signed({**DEPOSITED, "operation": operation, "status": status})))

    assert (receipt.kind, receipt.code) == (kind, operation)
    assert receipt.suppress is False


def test_a_repeated_report_has_the_same_key_and_another_one_another(receive, call):
    reports = [
        DEPOSITED,
        {**DEPOSITED, "status": "0"},
        {**DEPOSITED, "operation": "refunded"},
        {**DEPOSITED, "operation": "refunded", "amount": "1"},
        {**DEPOSITED, "mdOrder": "another"},
    ]

    keys = [receive(call(signed(report))).key for report in [*reports, *reports]]

    assert keys[: len(reports)] == keys[len(reports) :]
    assert len(set(keys)) == len(reports)


def test_the_key_does_not_depend_on_the_method_or_on_the_secret(make_sba):
    sba = make_sba(webhook_secrets=["another", SECRET])
    calls = [
        method({**DEPOSITED, "checksum": checksum_of(DEPOSITED, secret)})
        for method in (get, post)
        for secret in ("another", SECRET)
    ]

    assert len({sba.receive(call).items[0].key for call in calls}) == 1


@pytest.mark.parametrize(
    ("date", "occurred_at"),
    [
        ("Mon Jan 31 21:46:52 UTC 2022", datetime(2022, 1, 31, 21, 46, 52, tzinfo=UTC)),
        ("Mon Jan 31 21:46:52 MSK 2022", None),
        ("yesterday", None),
        ("", None),
    ],
)
def test_the_time_of_a_report_is_read_where_its_zone_is_known(receive, date, occurred_at):
    receipt = receive(get(signed({**DEPOSITED, "callbackCreationDate": date})))

    assert receipt.occurred_at == occurred_at


@pytest.mark.parametrize(
    ("settings", "kinds"),
    [
        ({}, set()),
        ({"webhook_secrets": [SECRET]}, {"status"}),
        ({"webhook_certificates": [PUBLIC_KEY]}, {"status"}),
    ],
)
def test_without_a_secret_or_a_certificate_the_webhook_is_off(make_sba, settings, kinds):
    assert make_sba(**settings).webhooks == kinds


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"webhook_secrets": [""]}, "webhook_secrets"),
        ({"webhook_secrets": ["s3cret", "b", "c"]}, "webhook_secrets"),
        ({"webhook_certificates": ["s3cret"]}, "webhook_certificates"),
        ({"webhook_certificates": [pem_of(ec.generate_private_key(ec.SECP256R1()))]}, "RSA"),
        ({"webhook_certificates": [PUBLIC_KEY] * 3}, "webhook_certificates"),
    ],
)
def test_bad_secrets_are_refused_without_being_shown(settings, says):
    with pytest.raises(ValidationError, match=says) as raised:
        SbaSettings(token="t", **settings)

    assert "s3cret" not in str(raised.value)


def test_the_simulated_bank_calls_and_is_understood(make_sba, sandbox, provider, pay, api):
    calls: SimpleQueue[str] = SimpleQueue()

    def answer(handler: Any) -> None:
        calls.put(handler.path)
        handler.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")

    provider.behave = answer
    sba = make_sba(
        url=f"{sandbox.http_url}/sba",
        api=api,
        callback_url=f"{provider.url}/hook",
        webhook_secrets=["sandbox-callback-key"],
    )
    message = payment()
    order_id = sba.send(message).provider_message_id

    pay(message.recipient)

    url = provider.url + calls.get(timeout=30)
    [receipt] = sba.receive(WebhookRequest("status", "GET", url, {}, b"", datetime.now(UTC))).items
    assert (receipt.kind, receipt.provider_message_id) == ("delivered", order_id)
    assert receipt.occurred_at is not None
