"""Sign requests and verify webhooks: HMAC, Standard Webhooks and Basic credentials.

Every verification takes several secrets, so that a new one can replace the old one without a
webhook being lost in between, and takes the same time whether a secret matches or not.

Sources: https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md
for Standard Webhooks (version v1), RFC 7617 for Basic credentials.
"""

import base64
import hmac
import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, SecretStr

from connectors.base import UnsignedWebhook, UnverifiedWebhook

Algorithm = Literal["sha256", "sha1", "sha512"]
Encoding = Literal["hex", "base64"]

TOLERANCE = timedelta(minutes=5)
"""How far the timestamp of a Standard Webhook may be in the past or future: the limit of the
specification's own libraries."""

ID_HEADER = "webhook-id"
TIMESTAMP_HEADER = "webhook-timestamp"
SIGNATURE_HEADER = "webhook-signature"
STANDARD_HEADERS = frozenset({ID_HEADER, TIMESTAMP_HEADER, SIGNATURE_HEADER})
SVIX_PREFIX = "svix-"
"""Replaces `webhook-` in the headers of senders that use Svix, whose signatures are the same.
Source: https://docs.svix.com/receiving/verifying-payloads/how-manual"""


def sign_hmac(secret: bytes, content: bytes, algorithm: Algorithm, encoding: Encoding) -> str:
    """Return the HMAC of the content, as lower-case hexadecimal or base64."""
    digest = hmac.digest(secret, content, algorithm)
    return digest.hex() if encoding == "hex" else base64.b64encode(digest).decode()


def is_any_equal(given: str | bytes, expected: Iterable[str | bytes]) -> bool:
    """Return whether a value equals any of the expected ones, in constant time."""
    matches = [hmac.compare_digest(_bytes(given), _bytes(value)) for value in expected]
    return any(matches)


def _bytes(value: str | bytes) -> bytes:
    return value.encode() if isinstance(value, str) else value


def encode_basic(username: str, password: str) -> str:
    """Return Basic credentials as they follow `Basic` in an Authorization header (RFC 7617)."""
    return base64.b64encode(f"{username}:{password}".encode()).decode()


def verify_basic_credentials(
    headers: Mapping[str, str], username: str, passwords: Iterable[str]
) -> None:
    """Check that a request has Basic credentials with one of the passwords.

    Args:
        headers: The headers of the request, with names in lower case.
        username: The expected user name.
        passwords: The accepted passwords.

    Raises:
        UnsignedWebhook: The request has no Basic credentials.
        UnverifiedWebhook: The credentials are invalid.
    """
    scheme, _, encoded = headers.get("authorization", "").partition(" ")
    if scheme.lower() != "basic":
        raise UnsignedWebhook("Basic credentials are missing")
    try:
        given = base64.b64decode(encoded.strip(), validate=True)
    except ValueError:
        raise UnverifiedWebhook("the Basic credentials are not valid base64") from None
    if not is_any_equal(given, [f"{username}:{password}" for password in passwords]):
        raise UnverifiedWebhook("the Basic credentials are invalid")


def _standard_key(secret: SecretStr) -> bytes:
    return base64.b64decode(secret.get_secret_value().removeprefix("whsec_"), validate=True)


def check_standard_secret(secret: SecretStr) -> SecretStr:
    """Return the secret if it is one of Standard Webhooks.

    Raises:
        ValueError: It is not `whsec_` and a key of 24 to 64 bytes in base64.
    """
    try:
        length = len(_standard_key(secret))
    except ValueError:
        length = 0
    if not 24 <= length <= 64:
        raise ValueError("must be whsec_ and 24 to 64 bytes in base64")
    return secret


StandardSecret = Annotated[SecretStr, AfterValidator(check_standard_secret)]
StandardSecrets = Annotated[tuple[StandardSecret, ...], Field(max_length=2)]


def sign_standard(
    secrets: Sequence[SecretStr], webhook_id: str, timestamp: datetime, body: bytes
) -> dict[str, str]:
    """Return the headers that sign a request by Standard Webhooks, once with each secret.

    Args:
        secrets: The secrets to sign with.
        webhook_id: The id, the same for every repetition of the request. It contains no full stop.
        timestamp: When the request is sent.
        body: The body of the request.
    """
    seconds = str(int(timestamp.timestamp()))
    signatures = [_standard_signature(secret, webhook_id, seconds, body) for secret in secrets]
    return {
        ID_HEADER: webhook_id,
        TIMESTAMP_HEADER: seconds,
        SIGNATURE_HEADER: " ".join(f"v1,{signature}" for signature in signatures),
    }


def verify_standard(
    secrets: Sequence[SecretStr], headers: Mapping[str, str], body: bytes, now: datetime
) -> str:
    """Check the Standard Webhooks signature of a request and return its id.

    Args:
        secrets: The accepted secrets.
        headers: The headers of the request, with names in lower case. They may begin with `svix-`
            instead of `webhook-`.
        body: The body of the request.
        now: The current time.

    Raises:
        UnsignedWebhook: A header is missing.
        UnverifiedWebhook: The signature is invalid, or the timestamp too far from `now`.
    """
    if not headers.keys() >= STANDARD_HEADERS:
        headers = {
            name: headers[svix]
            for name in STANDARD_HEADERS
            if (svix := name.replace("webhook-", SVIX_PREFIX)) in headers
        }
    if not headers.keys() >= STANDARD_HEADERS:
        raise UnsignedWebhook(f"the headers {', '.join(sorted(STANDARD_HEADERS))} are required")
    webhook_id, seconds = headers[ID_HEADER], headers[TIMESTAMP_HEADER]
    # The signed content joins id, timestamp and body with full stops. A full stop in the id would
    # make it ambiguous where the id ends.
    if not webhook_id or "." in webhook_id or not re.fullmatch("[0-9]{1,12}", seconds):
        raise UnverifiedWebhook("the id or the timestamp is malformed")
    expected = [_standard_signature(secret, webhook_id, seconds, body) for secret in secrets]
    entries = [entry.partition(",") for entry in headers[SIGNATURE_HEADER].split(" ")]
    given = [signature for version, _, signature in entries if version == "v1"]
    if not any(is_any_equal(signature, expected) for signature in given):
        raise UnverifiedWebhook("the signature is invalid")
    if abs(now.timestamp() - int(seconds)) > TOLERANCE.total_seconds():
        raise UnverifiedWebhook("the timestamp is more than five minutes from the current time")
    return webhook_id


def _standard_signature(secret: SecretStr, webhook_id: str, seconds: str, body: bytes) -> str:
    content = f"{webhook_id}.{seconds}.".encode() + body
    return sign_hmac(_standard_key(secret), content, "sha256", "base64")
