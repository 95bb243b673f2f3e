"""Keys of Google service accounts, made for one run of the tests."""

import json
from functools import cache

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa


@cache
def private_key() -> rsa.RSAPrivateKey:
    """The key that signs: short, since reading a longer one takes a tenth of a second."""
    return rsa.generate_private_key(public_exponent=65537, key_size=1024)


def key_file(**fields: str) -> str:
    """The text of a key file, with other `fields` than the usual ones."""
    pem = private_key().private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    usual = {
        "type": "service_account",
        "project_id": "demo-project",
        "private_key_id": "kid-1",
        "private_key": pem.decode(),
        "client_email": "relay@demo-project.iam.gserviceaccount.com",
        "token_uri": "https://oauth2.googleapis.com/token",
    }
    return json.dumps(usual | fields)
