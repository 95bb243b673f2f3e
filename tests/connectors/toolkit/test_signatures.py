"""Standard Webhooks, byte for byte: the first case is of the reference libraries' own tests."""

from datetime import UTC, datetime, timedelta

import pytest
from pydantic import SecretStr, TypeAdapter, ValidationError

from connectors.base import UnsignedWebhook, UnverifiedWebhook
from connectors.toolkit.signatures import StandardSecrets, sign_standard, verify_standard

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


@pytest.mark.parametrize(
    ("secrets", "webhook_id", "seconds", "body", "signature"), [REFERENCE, ROTATION]
)
def test_request_is_signed_with_each_secret(secrets, webhook_id, seconds, body, signature):
    at = datetime.fromtimestamp(seconds + 0.9, UTC)

    assert sign_standard(secrets, webhook_id, at, body) == {
        "webhook-id": webhook_id,
        "webhook-timestamp": str(seconds),
        "webhook-signature": signature,
    }


def headers(**changes: str) -> dict[str, str]:
    return {
        "webhook-id": ID,
        "webhook-timestamp": str(TIMESTAMP),
        "webhook-signature": SIGNATURE,
        **{f"webhook-{name}": value for name, value in changes.items()},
    }


@pytest.mark.parametrize(
    ("secrets", "signature"),
    [
        ((OLD,), SIGNATURE),
        ((NEW, OLD), SIGNATURE),
        ((OLD,), f"v1,AAAA v1a,AAAA v9,ё {SIGNATURE}"),
    ],
)
def test_one_valid_signature_is_enough(secrets, signature):
    assert verify_standard(secrets, headers(signature=signature), BODY, NOW) == ID


@pytest.mark.parametrize(
    ("secrets", "changes", "body"),
    [
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
    ],
)
def test_any_other_request_is_unverified(secrets, changes, body):
    with pytest.raises(UnverifiedWebhook):
        verify_standard(secrets, headers(**changes), body, NOW)


def test_id_must_not_contain_a_full_stop():
    signed = sign_standard((OLD,), "a", NOW, b"5.x")
    moved = {**signed, "webhook-id": f"a.{TIMESTAMP}", "webhook-timestamp": "5"}

    with pytest.raises(UnverifiedWebhook, match="malformed"):
        verify_standard((OLD,), moved, b"x", datetime.fromtimestamp(5, UTC))


@pytest.mark.parametrize("missing", ["webhook-id", "webhook-timestamp", "webhook-signature"])
def test_request_without_signature_headers_is_unsigned(missing):
    given = headers()
    del given[missing]

    with pytest.raises(UnsignedWebhook):
        verify_standard((OLD,), given, BODY, NOW)


@pytest.mark.parametrize(
    ("seconds", "fresh"), [(300, True), (301, False), (-300, True), (-301, False)]
)
def test_request_is_accepted_within_five_minutes(seconds, fresh):
    now = NOW + timedelta(seconds=seconds)

    if fresh:
        assert verify_standard((OLD,), headers(), BODY, now) == ID
    else:
        with pytest.raises(UnverifiedWebhook, match="five minutes"):
            verify_standard((OLD,), headers(), BODY, now)


@pytest.mark.parametrize(
    ("secrets", "taken"),
    [
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
    ],
)
def test_secrets_have_24_to_64_bytes_and_are_at_most_two(secrets, taken):
    adapter = TypeAdapter(StandardSecrets)

    if taken:
        assert len(adapter.validate_python(secrets)) == len(secrets)
    else:
        with pytest.raises(ValidationError):
            adapter.validate_python(secrets)
