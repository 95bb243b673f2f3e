"""Signatures of webhooks as the Standard Webhooks specification has them, version `v1`: HMAC with
SHA-256 (https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md).

A secret is `whsec_` and a key of 24 to 64 bytes in base64. While one replaces another, a sender
signs with both and a receiver takes either.
"""

import base64
import hmac
import re
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Annotated

from pydantic import AfterValidator, Field, SecretStr

from connectors.base import UnsignedWebhook, UnverifiedWebhook

TOLERANCE = timedelta(minutes=5)
"""How old a call may be, or how far ahead its clock. The specification's own libraries say so."""

ID_HEADER = "webhook-id"
TIMESTAMP_HEADER = "webhook-timestamp"
SIGNATURE_HEADER = "webhook-signature"
HEADERS = frozenset({ID_HEADER, TIMESTAMP_HEADER, SIGNATURE_HEADER})


def _key(secret: SecretStr) -> bytes:
    return base64.b64decode(secret.get_secret_value().removeprefix("whsec_"), validate=True)


def holding_a_key(secret: SecretStr) -> SecretStr:
    """The secret itself. Raises ValueError where it is none of Standard Webhooks."""
    try:
        length = len(_key(secret))
    except ValueError:
        length = 0
    if not 24 <= length <= 64:
        raise ValueError("must be whsec_ and 24 to 64 bytes in base64")
    return secret


SigningSecret = Annotated[SecretStr, AfterValidator(holding_a_key)]
SigningSecrets = Annotated[tuple[SigningSecret, ...], Field(max_length=2)]


def sign(
    secrets: Sequence[SecretStr], webhook_id: str, at: datetime, body: bytes
) -> dict[str, str]:
    """The headers of a call with this body made at that moment, signed with each of the secrets.

    `webhook_id` is the same whenever the call is repeated, and holds no full stop.
    """
    timestamp = str(int(at.timestamp()))
    signatures = [_signature(secret, webhook_id, timestamp, body) for secret in secrets]
    return {
        ID_HEADER: webhook_id,
        TIMESTAMP_HEADER: timestamp,
        SIGNATURE_HEADER: " ".join(f"v1,{signature}" for signature in signatures),
    }


def verify(
    secrets: Sequence[SecretStr], headers: Mapping[str, str], body: bytes, now: datetime
) -> str:
    """Check a call whose header names are in lower case, and return its id. Raises UnsignedWebhook
    where a header is missing, UnverifiedWebhook where no signature fits or the time is not about `now`."""
    if not headers.keys() >= HEADERS:
        raise UnsignedWebhook(f"needs the headers {', '.join(sorted(HEADERS))}")
    webhook_id, timestamp = headers[ID_HEADER], headers[TIMESTAMP_HEADER]
    # What is signed are the three parts with full stops between: one in the id would leave open
    # where it ends.
    if not webhook_id or "." in webhook_id or not re.fullmatch("[0-9]{1,12}", timestamp):
        raise UnverifiedWebhook("the id or the timestamp is malformed")
    expected = [_signature(secret, webhook_id, timestamp, body) for secret in secrets]
    given = [entry.partition(",") for entry in headers[SIGNATURE_HEADER].split(" ")]
    if not any(
        hmac.compare_digest(ours.encode(), theirs.encode())
        for version, _, theirs in given
        if version == "v1"
        for ours in expected
    ):
        raise UnverifiedWebhook("no signature fits")
    if abs(now.timestamp() - int(timestamp)) > TOLERANCE.total_seconds():
        raise UnverifiedWebhook("the timestamp is more than five minutes away from now")
    return webhook_id


def _signature(secret: SecretStr, webhook_id: str, timestamp: str, body: bytes) -> str:
    content = f"{webhook_id}.{timestamp}.".encode() + body
    return base64.b64encode(hmac.digest(_key(secret), content, "sha256")).decode()
