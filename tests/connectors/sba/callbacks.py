"""Callbacks as the bank makes them, with known checksums, and keys to sign others."""

import hashlib
import hmac
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlencode

from cryptography.hazmat.primitives import serialization

from connectors.base import WebhookRequest

URL = "https://postroom.test/api/webhooks/sba/status"
SECRET = "yourSecretToken"
DEPOSITED = {
    "mdOrder": "3ff6962a-7dcc-4283-ab50-a6d7dd3386fe",
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
# The checksums of both with the secret, and of the first with the private key of PUBLIC_KEY.
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


def pem_of(key: Any) -> str:
    """Return the public key of a private key."""
    encoding, form = serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    pem: bytes = key.public_key().public_bytes(encoding, form)
    return pem.decode()


def checksum_of(parameters: dict[str, str], secret: str = SECRET) -> str:
    text = "".join(f"{name};{value};" for name, value in sorted(parameters.items()))
    return hmac.new(secret.encode(), text.encode(), hashlib.sha256).hexdigest().upper()


def signed(parameters: dict[str, str]) -> dict[str, str]:
    return {**parameters, "checksum": checksum_of(parameters)}


def get(parameters: Any) -> WebhookRequest:
    url = f"{URL}?{urlencode(parameters)}"
    return WebhookRequest("status", "GET", url, {}, b"", datetime.now(UTC))


def post(parameters: Any) -> WebhookRequest:
    headers = {"content-type": "application/x-www-form-urlencoded"}
    body = urlencode(parameters).encode()
    return WebhookRequest("status", "POST", URL, headers, body, datetime.now(UTC))
