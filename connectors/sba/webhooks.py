"""Verify and read the bank's callbacks. Each one reports on one order, in a query or a form.

The parameter `checksum` covers `name;value;` of every other parameter except `sign_alias`, sorted
by name. It is an HMAC-SHA256 with the merchant's secret, or a signature by the bank (RSA,
PKCS #1 v1.5, SHA-512), in hexadecimal. Source:
https://securepayments.sberbank.ru/wiki/doku.php/integration:api:callback:start

A callback contains no timestamp, so a replayed one is recognised only by its key.
"""

import hashlib
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
    UnsignedWebhook,
    UnverifiedWebhook,
    WebhookRequest,
)
from connectors.toolkit.signatures import is_any_equal, sign_hmac

UNSIGNED_PARAMETERS = frozenset({"checksum", "sign_alias"})

# A refund implies that the order was paid. A reversed order will never be paid.
KIND_OF_OPERATION: Mapping[str, ReceiptKind] = {
    "created": "queued",
    "approved": "sent",
    "deposited": "delivered",
    "refunded": "delivered",
    "reversed": "failed",
    "declinedByTimeout": "failed",
    "declinedCardpresent": "failed",
}
# Nothing was paid, whether the status is 0 or 1.
DECLINED = frozenset({"declinedByTimeout", "declinedCardpresent"})


def public_key(pem: str) -> RSAPublicKey:
    """Return the RSA key of a certificate or public key in PEM.

    Raises:
        ValueError: The text is not a certificate or public key, or its key is not an RSA key.
    """
    data = pem.encode()
    if b"BEGIN CERTIFICATE" in data:
        key: object = x509.load_pem_x509_certificate(data).public_key()
    else:
        key = load_pem_public_key(data)
    if not isinstance(key, RSAPublicKey):
        raise ValueError("not an RSA key")  # noqa: TRY004 - pydantic reports a ValueError
    return key


def verify_webhook(
    request: WebhookRequest, secrets: Sequence[str], keys: Sequence[RSAPublicKey]
) -> None:
    """Verify a callback with the secrets and the bank's keys.

    Raises:
        UnsignedWebhook: The checksum is missing.
        UnverifiedWebhook: The checksum is invalid.
    """
    pairs = _parameters(request)
    checksums = [value for name, value in pairs if name == "checksum"]
    _verify(_signed_text(pairs), checksums, secrets, keys)


def read_webhook(request: WebhookRequest) -> Receipt:
    """Return the receipt in a callback.

    Raises:
        MalformedWebhook: A parameter is missing or repeated.
    """
    pairs = _parameters(request)
    parameters = dict(pairs)
    if len(parameters) < len(pairs):
        raise MalformedWebhook("a parameter is repeated")
    return _receipt(parameters, _signed_text(pairs))


def _parameters(request: WebhookRequest) -> list[tuple[str, str]]:
    try:
        return request.query if request.method == "GET" else request.form
    except MalformedWebhook as error:
        # A body that is not a form contains no checksum.
        raise UnsignedWebhook(str(error)) from None


def _signed_text(pairs: Sequence[tuple[str, str]]) -> bytes:
    signed = sorted((name, value) for name, value in pairs if name not in UNSIGNED_PARAMETERS)
    return "".join(f"{name};{value};" for name, value in signed).encode()


def _verify(
    signed: bytes, checksums: Sequence[str], secrets: Sequence[str], keys: Sequence[RSAPublicKey]
) -> None:
    if not any(checksums):
        raise UnsignedWebhook("the parameter checksum is missing")
    try:
        [checksum] = map(bytes.fromhex, checksums)
    except ValueError:
        raise UnverifiedWebhook("the checksum is repeated or not hexadecimal") from None
    expected = [sign_hmac(secret.encode(), signed, "sha256", "hex") for secret in secrets]
    if not is_any_equal(checksum.hex(), expected) and not any(
        _is_valid(key, checksum, signed) for key in keys
    ):
        raise UnverifiedWebhook("the checksum is invalid")


def _is_valid(key: RSAPublicKey, checksum: bytes, signed: bytes) -> bool:
    try:
        key.verify(checksum, signed, PKCS1v15(), SHA512())
    except InvalidSignature:
        return False
    return True


def _receipt(parameters: Mapping[str, str], signed: bytes) -> Receipt:
    operation, status = parameters.get("operation", ""), parameters.get("status", "")
    # An order can be refunded several times: these callbacks differ in other parameters only.
    digest = hashlib.sha256(signed).hexdigest()[:16]
    return Receipt(
        key=f"{parameters.get('mdOrder', '')}:{operation}:{status}:{digest}",
        kind=_kind(operation, status),
        provider_message_id=parameters.get("mdOrder"),
        occurred_at=_date(parameters.get("callbackCreationDate", "")),
        code=operation,
        detail=None if status == "1" else f"status {status}",
        payload={
            name: value for name, value in parameters.items() if name not in UNSIGNED_PARAMETERS
        },
    )


def _kind(operation: str, status: str) -> ReceiptKind:
    if operation not in KIND_OF_OPERATION:
        return "unrecognised"
    if status != "1" and operation not in DECLINED:
        # The attempt failed, but the customer may try another card.
        return "deferred"
    return KIND_OF_OPERATION[operation]


def _date(text: str) -> datetime | None:
    """Return a date such as `Mon Jan 31 21:46:52 UTC 2022`.

    Returns None if the text is not a date or its time zone is unknown.
    """
    try:
        date = parsedate_to_datetime(text)
    except ValueError:
        return None
    return date.astimezone(UTC) if date.tzinfo else None
