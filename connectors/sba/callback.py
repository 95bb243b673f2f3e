"""What Sberbank's acquiring calls us with: one report on one order, as a query or as a form.

Its checksum covers `name;value;` of every parameter but itself and `sign_alias`, sorted by name:
HMAC-SHA256 with the merchant's secret, or a signature by the bank (RSA, PKCS #1 v1.5, SHA-512),
either in hexadecimal
(https://securepayments.sberbank.ru/wiki/doku.php/integration:api:callback:start).

Nothing in a call keeps it from being sent again, so only its key does; and a report of money is a
hint, to be confirmed by the status of the order, which `poll` asks for as well.
"""

import hashlib
import hmac
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.hashes import SHA512
from cryptography.hazmat.primitives.serialization import load_pem_public_key

from connectors.base import (
    MalformedWebhook,
    Receipt,
    ReceiptKind,
    Received,
    UnsignedWebhook,
    UnverifiedWebhook,
    WebhookRequest,
    WebhookResponse,
)

UNSIGNED = frozenset({"checksum", "sign_alias"})

# A refund proves that there was a payment. What was let go will never be paid.
KIND_OF_OPERATION: Mapping[str, ReceiptKind] = {
    "created": "queued",
    "approved": "sent",
    "deposited": "delivered",
    "refunded": "delivered",
    "reversed": "failed",
    "declinedByTimeout": "failed",
    "declinedCardpresent": "failed",
}
# These say by themselves that nothing was paid, with a status of 0 or of 1.
DECLINED = frozenset({"declinedByTimeout", "declinedCardpresent"})


def public_key(pem: str) -> RSAPublicKey:
    """The RSA key of a certificate, or of a bare public key, in PEM. Raises ValueError."""
    data = pem.encode()
    if b"BEGIN CERTIFICATE" in data:
        return _rsa(x509.load_pem_x509_certificate(data).public_key())
    return _rsa(load_pem_public_key(data))


def _rsa(key: object) -> RSAPublicKey:
    if not isinstance(key, RSAPublicKey):
        raise ValueError("must hold an RSA key")  # noqa: TRY004 - pydantic reports a ValueError
    return key


def read(request: WebhookRequest, secrets: Sequence[str], keys: Sequence[RSAPublicKey]) -> Received:
    """The receipt in a call signed with one of `secrets`, or by one of `keys`. Raises a
    WebhookError."""
    given = _parameters(request)
    signed = _signed(given)
    _verify(signed, [value for name, value in given if name == "checksum"], secrets, keys)
    parameters = dict(given)
    if len(parameters) < len(given):
        raise MalformedWebhook("a parameter is given twice")
    return Received([_receipt(parameters, signed)], WebhookResponse(200))


def _parameters(request: WebhookRequest) -> list[tuple[str, str]]:
    try:
        return request.query if request.method == "GET" else request.form
    except MalformedWebhook as malformed:
        # What cannot be read cannot be signed either.
        raise UnsignedWebhook(str(malformed)) from None


def _signed(given: Sequence[tuple[str, str]]) -> bytes:
    pairs = sorted((name, value) for name, value in given if name not in UNSIGNED)
    return "".join(f"{name};{value};" for name, value in pairs).encode()


def _verify(
    signed: bytes, checksums: Sequence[str], secrets: Sequence[str], keys: Sequence[RSAPublicKey]
) -> None:
    if not any(checksums):
        raise UnsignedWebhook("no checksum")
    try:
        [checksum] = map(bytes.fromhex, checksums)
    except ValueError:
        raise UnverifiedWebhook("expected one checksum, in hexadecimal") from None
    right = [
        hmac.compare_digest(hmac.digest(secret.encode(), signed, hashlib.sha256), checksum)
        for secret in secrets
    ]
    if not any(right) and not any(_signed_by(key, checksum, signed) for key in keys):
        raise UnverifiedWebhook("the checksum is wrong")


def _signed_by(key: RSAPublicKey, checksum: bytes, signed: bytes) -> bool:
    try:
        key.verify(checksum, signed, PKCS1v15(), SHA512())
    except InvalidSignature:
        return False
    return True


def _receipt(parameters: Mapping[str, str], signed: bytes) -> Receipt:
    operation, status = parameters.get("operation", ""), parameters.get("status", "")
    # An order may be refunded several times: what tells these reports apart is in the rest.
    rest = hashlib.sha256(signed).hexdigest()[:16]
    return Receipt(
        key=f"{parameters.get('mdOrder', '')}:{operation}:{status}:{rest}",
        kind=_kind(operation, status),
        provider_message_id=parameters.get("mdOrder"),
        occurred_at=_date(parameters.get("callbackCreationDate", "")),
        code=operation,
        detail=None if status == "1" else f"status {status}",
        payload={name: value for name, value in parameters.items() if name not in UNSIGNED},
    )


def _kind(operation: str, status: str) -> ReceiptKind:
    if operation not in KIND_OF_OPERATION:
        return "unrecognised"
    if status != "1" and operation not in DECLINED:
        # An attempt failed, perhaps not the last: the customer may try another card.
        return "deferred"
    return KIND_OF_OPERATION[operation]


def _date(text: str) -> datetime | None:
    """`Mon Jan 31 21:46:52 UTC 2022`; None where it is no date, or one of an unknown zone."""
    try:
        date = parsedate_to_datetime(text)
    except ValueError:
        return None
    return date.astimezone(UTC) if date.tzinfo else None
