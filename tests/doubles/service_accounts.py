"""Keys of Google service accounts, generated for one test run."""

import json
from functools import cache

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa


@cache
def private_key() -> rsa.RSAPrivateKey:
    """Return the private key. It is short, because loading a longer one takes 0.1 s."""
    return rsa.generate_private_key(public_exponent=65537, key_size=1024)


def key_file(**fields: str) -> str:
    """Return the JSON of a key file, with some fields replaced."""
    pem = private_key().private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    defaults = {
        "type": "service_account",
        "project_id": "demo-project",
        "private_key_id": "kid-1",
        "private_key": pem.decode(),
        "client_email": "relay@demo-project.iam.gserviceaccount.com",
        "token_uri": "https://oauth2.googleapis.com/token",
    }
    return json.dumps(defaults | fields)
