"""Keys with which SendGrid signs webhooks."""

import base64

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

SIGNATURE = "x-twilio-email-event-webhook-signature"
TIMESTAMP = "x-twilio-email-event-webhook-timestamp"


def new_key() -> ec.EllipticCurvePrivateKey:
    return ec.generate_private_key(ec.SECP256R1())


def public_key_of(key: ec.EllipticCurvePrivateKey) -> str:
    """Return the public key as SendGrid displays it."""
    der = key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return base64.b64encode(der).decode()


def signature_headers(
    key: ec.EllipticCurvePrivateKey, timestamp: str, body: bytes
) -> dict[str, str]:
    signature = key.sign(timestamp.encode() + body, ec.ECDSA(SHA256()))
    return {SIGNATURE: base64.b64encode(signature).decode(), TIMESTAMP: timestamp}
