"""Signatures, byte for byte. The first one is from the tests of the reference libraries."""

from datetime import UTC, datetime, timedelta

import pytest
from pydantic import SecretStr, TypeAdapter, ValidationError

from connectors.base import UnsignedWebhook, UnverifiedWebhook
from connectors.toolkit.signatures import (
    StandardSecrets,
    encode_basic,
    sign_standard,
    verify_basic_credentials,
    verify_standard,
)

OLD = SecretStr("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
NEW = SecretStr("whsec_TTdGBddfdb8SEsbmlthQVTz4PWwGI5XHlgd84oN91v0=")
OTHER = SecretStr("whsec_" + "A" * 32)

REFERENCE = (
    (OLD,),
    "msg_p5jXN8AQM9LWM0D4loKWxJek",
    1614265330,
    b'{"test": 2432232314}',
    "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
)
ROTATION = (
    (NEW, OLD),
    "msg_2KWPBgLlAfxdpx2AI54pPJ85f4W",
    1714564800,
    (
        b'{"type":"message.delivered","timestamp":"2024-05-01T12:00:00Z",'
        b'"data":{"id":"0190f3c2-0000-7000-8000-000000000001","status":"delivered"}}'
    ),
    (
        "v1,Te9Zgl4Ct4U1Kj+X0OPQAXQhuL1U6oTckvfieZNRinI= "
        "v1,aksWs7jiNzJSGC8sKFP6aJm72R3EzWuA9+rYZw3YXr0="
    ),
)

_, ID, TIMESTAMP, BODY, SIGNATURE = REFERENCE
NOW = datetime.fromtimestamp(TIMESTAMP, UTC)


def test_request_is_signed_with_each_secret() -> None:
    rows = [REFERENCE, ROTATION]
    failures = []
    for secrets, webhook_id, seconds, body, signature in rows:
        timestamp = datetime.fromtimestamp(seconds + 0.9, UTC)
        found = sign_standard(secrets, webhook_id, timestamp, body)
        expected = {
            "webhook-id": webhook_id,
            "webhook-timestamp": str(seconds),
            "webhook-signature": signature,
        }
        if found != expected:
            failures.append((webhook_id, found))
    assert not failures


def headers(**changes: str) -> dict[str, str]:
    return {
        "webhook-id": ID,
        "webhook-timestamp": str(TIMESTAMP),
        "webhook-signature": SIGNATURE,
        **{f"webhook-{name}": value for name, value in changes.items()},
    }


def test_one_valid_signature_is_enough() -> None:
    rows = [
        ((OLD,), SIGNATURE),
        ((NEW, OLD), SIGNATURE),
        ((OLD,), f"v1,AAAA v1a,AAAA v9,ё {SIGNATURE}"),
    ]
    failures = []
    for secrets, signature in rows:
        found = verify_standard(secrets, headers(signature=signature), BODY, NOW)
        if found != ID:
            failures.append((signature, found))
    assert not failures


def test_headers_may_have_the_names_of_svix() -> None:
    def svix(**changes: str) -> dict[str, str]:
        given = headers(**changes).items()
        return {name.replace("webhook-", "svix-"): value for name, value in given}

    assert verify_standard((OLD,), svix(), BODY, NOW) == ID
    assert verify_standard((OLD,), {**svix(id="msg_other"), **headers()}, BODY, NOW) == ID
    with pytest.raises(UnverifiedWebhook):
        verify_standard((OLD,), svix(id="msg_other"), BODY, NOW)
    mixed = {**svix(), "webhook-id": ID}
    del mixed["svix-id"]
    with pytest.raises(UnsignedWebhook):
        verify_standard((OLD,), mixed, BODY, NOW)


def test_any_other_request_is_unverified() -> None:
    rows = [
        ((OTHER,), {}, BODY),
        ((), {}, BODY),
        ((OLD,), {}, BODY + b" "),
        ((OLD,), {"id": "msg_other"}, BODY),
        ((OLD,), {"timestamp": str(TIMESTAMP + 1)}, BODY),
        ((OLD,), {"timestamp": ""}, BODY),
        ((OLD,), {"timestamp": f" {TIMESTAMP}"}, BODY),
        ((OLD,), {"timestamp": "9" * 5000}, BODY),
        ((OLD,), {"signature": ""}, BODY),
        ((OLD,), {"signature": "v1,"}, BODY),
        ((OLD,), {"signature": SIGNATURE.replace("v1,", "v1a,")}, BODY),
        ((OLD,), {"signature": SIGNATURE.removeprefix("v1,")}, BODY),
    ]
    failures = []
    for secrets, changes, body in rows:
        try:
            failures.append((changes, verify_standard(secrets, headers(**changes), body, NOW)))
        except UnverifiedWebhook:
            continue
    assert not failures


def test_id_must_not_contain_a_full_stop():
    signed = sign_standard((OLD,), "a", NOW, b"5.x")
    moved = {**signed, "webhook-id": f"a.{TIMESTAMP}", "webhook-timestamp": "5"}

    with pytest.raises(UnverifiedWebhook, match="malformed"):
        verify_standard((OLD,), moved, b"x", datetime.fromtimestamp(5, UTC))


def test_request_without_signature_headers_is_unsigned():
    for missing in ("webhook-id", "webhook-timestamp", "webhook-signature"):
        given = headers()
        del given[missing]
        with pytest.raises(UnsignedWebhook):
            verify_standard((OLD,), given, BODY, NOW)


def test_request_is_accepted_within_five_minutes():
    for seconds in (300, -300):
        now = NOW + timedelta(seconds=seconds)
        assert verify_standard((OLD,), headers(), BODY, now) == ID
    for seconds in (301, -301):
        with pytest.raises(UnverifiedWebhook, match="five minutes"):
            verify_standard((OLD,), headers(), BODY, NOW + timedelta(seconds=seconds))


def test_secrets_have_24_to_64_bytes_and_are_at_most_two() -> None:
    adapter = TypeAdapter(StandardSecrets)
    rows = [
        (["whsec_" + "A" * 32], True),  # 24 bytes
        (["A" * 84 + "AA=="], True),  # 64 bytes, without the prefix
        ([], True),
        (["whsec_" + "A" * 28], False),
        (["whsec_" + "A" * 84 + "AAA="], False),
        (["whsec_" + "A" * 31], False),
        (["whsec_" + "A" * 31 + "-"], False),
        (["whsec_ёёёё"], False),
        ([""], False),
        (["whsec_" + "A" * 32] * 3, False),
    ]
    failures = []
    for secrets, taken in rows:
        try:
            adapter.validate_python(secrets)
            found = True
        except ValidationError:
            found = False
        if found != taken:
            failures.append((secrets, found))
    assert not failures


# --- Basic credentials


def test_basic_credentials_with_one_of_the_passwords_are_accepted():
    for encoded in (encode_basic("relay", "new"), encode_basic("relay", "old") + " "):
        for scheme in ("Basic", "basic"):
            verify_basic_credentials(
                {"authorization": f"{scheme} {encoded}"}, "relay", ["new", "old"]
            )


def test_other_credentials_are_not_accepted():
    rows = [
        ({}, UnsignedWebhook),
        ({"authorization": ""}, UnsignedWebhook),
        ({"authorization": "Bearer token"}, UnsignedWebhook),
        ({"authorization": "Basic"}, UnverifiedWebhook),
        ({"authorization": "Basic ???"}, UnverifiedWebhook),
        ({"authorization": f"Basic {encode_basic('relay', '')}"}, UnverifiedWebhook),
        ({"authorization": f"Basic {encode_basic('relay', 'oldx')}"}, UnverifiedWebhook),
        ({"authorization": f"Basic {encode_basic('other', 'old')}"}, UnverifiedWebhook),
    ]
    failures = []
    for given, error in rows:
        with pytest.raises((UnsignedWebhook, UnverifiedWebhook)) as raised:
            verify_basic_credentials(given, "relay", ["new", "old"])
        if type(raised.value) is not error:
            failures.append((given, raised.value))
    assert not failures
