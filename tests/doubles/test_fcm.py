import time
from collections.abc import Callable
from typing import Any

import pytest
import requests
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import serialization
from google.auth import crypt, jwt

from sandbox.client import RunningSandbox
from tests.doubles.google_accounts import verify

GRANT_TYPE = "urn:ietf:params:oauth:grant-type:jwt-bearer"
SCOPE = "https://www.googleapis.com/auth/firebase.messaging"
AUDIENCE = "https://oauth2.googleapis.com/token"
DEVICE = "dXJ3WzVfRk2k:APA91bHun4MxP5egoKMwt2KZFBaFUH-1RYqx"

# A JWT made by another implementation: RS256 with a key for tests.
PUBLIC_KEY = b"""-----BEGIN PUBLIC KEY-----
MIIBIjANBgkqhkiG9w0BAQEFAAOCAQ8AMIIBCgKCAQEAptShwSGuQreE3tTpDyrI
/6I305yHDj5/fKPZii5tXz4tqM3P5M79IjC0MJUfTRh+kl9hDITyMf+EuCpnWH1B
2cPAOaGL+yesAM2Sy6NKHpxkHko0cWhQ6DcPe/4dIrcM5rWCr2w7dsXgK2IPEITD
JqIF7OQaOp0fsvHEQhIwMD/55/zNnYBzmkEqn1qcuMSSVeTcLLia9yr2qKChx9Vm
+RWaxFFyA0xqgC68Rgbvbh801mTiDRU/jGbeGzJveM66+wDcf0y7yjexhYGlbpb9
Z0KBUTsXJcqecCgM79T22hSq+yHKkuSE8O+dkMZ2NMyJwys+0mbxGqtyZ52VGGSP
2QIDAQAB
-----END PUBLIC KEY-----
"""
ASSERTION = (
    "eyJ0eXAiOiAiSldUIiwgImFsZyI6ICJSUzI1NiIsICJraWQiOiAia2lkLTEifQ."
    "eyJpYXQiOiAxNzAwMDAwMDAwLCAiZXhwIjogMTcwMDAwMzYwMCwgImlzcyI6ICJyZWxheUBkZW1vLXByb2plY3QuaWFtL"
    "mdzZXJ2aWNlYWNjb3VudC5jb20iLCAiYXVkIjogImh0dHBzOi8vb2F1dGgyLmdvb2dsZWFwaXMuY29tL3Rva2VuIiwgIn"
    "Njb3BlIjogImh0dHBzOi8vd3d3Lmdvb2dsZWFwaXMuY29tL2F1dGgvZmlyZWJhc2UubWVzc2FnaW5nIn0."
    "eN1Z-JLWEMVE6ggqXPmTa9X0o53wmsWZ8hTl6gtCr8VPCesZ8p1z1Rhnz8nFf13rJ0Qhuj0g_QZXK-oSHH1E8VT0XUsqy"
    "iyQZYKqcJLUViV6-XnZ7n095ZsC4rgqlLsMPJ_wLk0SBRdtFKZ_eG9jdX976lnqUPSR6D0Vwt7GSrqpWf6NuszQJu7TLE"
    "jjqZZ_d2rhmJI24dYmawVz6RoXm081dx11iOQWLNh1PDMCHo3f99dKHeNYrakoQDUKPkFn1j_RMgTky3CvVRUwzLA27oI"
    "AWjkExMz8v9zm-Dc43hlGNdhfTVUu3nI8otD7rUCUlmyGFgbXi7bTZElR6erUfQ"
)


Ask = Callable[..., requests.Response]


@pytest.fixture
def ask_for_token(sandbox: RunningSandbox) -> Ask:
    """Ask for a token with a valid assertion, with changes."""
    url = f"{sandbox.http_url}/fcm/service-account.json"
    key = sandbox.session.get(url, timeout=30).json()

    def ask(key_id: str | None = None, grant_type: str = GRANT_TYPE, **claims: Any) -> Any:
        now = int(time.time())
        valid = {
            "iss": key["client_email"],
            "scope": SCOPE,
            "aud": AUDIENCE,
            "iat": now,
            "exp": now + 3600,
        }
        signer = crypt.RSASigner.from_string(key["private_key"], key_id or key["private_key_id"])
        form = {"grant_type": grant_type, "assertion": jwt.encode(signer, valid | claims)}
        return sandbox.session.post(key["token_uri"], data=form, timeout=30)

    return ask


@pytest.fixture
def send(sandbox: RunningSandbox, ask_for_token: Ask) -> Ask:
    """Send a message, by default with a valid token."""
    token = ask_for_token().json()["access_token"]

    def send(message: Any, authorization: str = f"Bearer {token}") -> requests.Response:
        return sandbox.session.post(
            f"{sandbox.http_url}/fcm/v1/projects/sandbox-project/messages:send",
            json=message,
            headers={"Authorization": authorization},
            timeout=30,
        )

    return send


def test_assertions_are_verified_by_their_signature():
    public_key: Any = serialization.load_pem_public_key(PUBLIC_KEY)

    header, claims = verify(ASSERTION, public_key)

    assert header == {"typ": "JWT", "alg": "RS256", "kid": "kid-1"}
    assert claims["iss"] == "relay@demo-project.iam.gserviceaccount.com"
    parts = ASSERTION.split(".")
    for forged in (
        ASSERTION.replace("eyJpYXQiOiAxNz", "eyJpYXQiOiAxOD"),
        ASSERTION + "=",
        ".".join(parts[:2]) + ".",
        "",
        ".".join(reversed(parts)),
    ):
        with pytest.raises(InvalidSignature):
            verify(forged, public_key)


def test_invalid_assertions_get_no_token(ask_for_token):
    failures = []
    for changes, error, text in [
        ({"grant_type": "client_credentials"}, "unsupported_grant_type", "grant_type"),
        ({"key_id": "another"}, "invalid_grant", "Signature"),
        ({"iss": "another@example.com"}, "invalid_grant", "account not found"),
        ({"aud": "https://example.com"}, "invalid_grant", "audience"),
        ({"iat": 1700000000, "exp": 1700003600}, "invalid_grant", "short-lived"),
        ({"iat": 4102444800, "exp": 4102448400}, "invalid_grant", "short-lived"),
        ({"exp": 4102444800}, "invalid_grant", "short-lived"),
        ({"iat": "now"}, "invalid_grant", "short-lived"),
        ({"scope": "https://www.googleapis.com/auth/drive"}, "invalid_scope", "scope"),
        ({"scope": ""}, "invalid_scope", "scope"),
    ]:
        answer = ask_for_token(**changes)
        found = answer.json()
        if (answer.status_code, found["error"]) != (400, error) or text not in found[
            "error_description"
        ]:
            failures.append((changes, answer.text))

    assert not failures


def test_invalid_messages_are_refused(sandbox, send):
    failures = []
    for message, text in [
        ([], "payload"),
        ({}, "payload"),
        ({"message": {}}, "Exactly one"),
        ({"message": {"token": DEVICE, "topic": "news"}}, "Exactly one"),
        ({"message": {"token": DEVICE, "fid": DEVICE}}, "Exactly one"),
        ({"message": {"topic": "/topics/news"}}, "payload"),
        ({"message": {"token": "no token"}}, "registration token"),
        ({"message": {"token": DEVICE, "data": {"k": 1}}}, "payload"),
        ({"message": {"token": DEVICE, "data": {"from": "x"}}}, "from"),
        ({"message": {"token": DEVICE, "data": {"google.x": "x"}}}, "google.x"),
        ({"message": {"token": DEVICE, "notification": {"text": "x"}}}, "payload"),
        ({"message": {"token": DEVICE, "no_such": 1}}, "payload"),
        ({"message": {"token": DEVICE}, "no_such": 1}, "payload"),
        ({"message": {"token": DEVICE}, "validate_only": "yes"}, "payload"),
        ({"message": {"token": DEVICE, "data": {"k": "x" * 4096}}}, "too big"),
        ({"message": {"topic": "news", "data": {"k": "x" * 2048}}}, "too big"),
    ]:
        answer = send(message)
        error = answer.json()["error"]
        if (error["code"], error["status"]) != (400, "INVALID_ARGUMENT") or text not in error[
            "message"
        ]:
            failures.append((message, answer.text))

    assert not failures
    assert sandbox.received(outcome="*") == []


def test_only_valid_tokens_are_accepted_until_they_are_revoked(sandbox, send):
    message = {"message": {"token": DEVICE}}
    for authorization in "", "Bearer another", "Basic YTpi":
        assert send(message, authorization).status_code == 401

    assert send(message).status_code == 200
    assert "ya29" not in str(sandbox.received(kind="fcm"))
    sandbox.session.delete(f"{sandbox.http_url}/fcm/token", timeout=30).raise_for_status()
    assert send(message).status_code == 401
