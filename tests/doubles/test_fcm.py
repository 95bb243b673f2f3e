import time
from collections.abc import Callable
from typing import Any

import pytest
import requests
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import serialization
from google.auth import crypt, jwt

from sandbox.client import RunningSandbox
from tests.doubles.google_accounts import verified

GRANT_TYPE = "urn:ietf:params:oauth:grant-type:jwt-bearer"
SCOPE = "https://www.googleapis.com/auth/firebase.messaging"
AUDIENCE = "https://oauth2.googleapis.com/token"
DEVICE = "dXJ3WzVfRk2k:APA91bHun4MxP5egoKMwt2KZFBaFUH-1RYqx"

# A published example: RS256 with a key made for tests.
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


@pytest.fixture
def base(sandbox: RunningSandbox) -> str:
    return f"{sandbox.http_url}/fcm"


@pytest.fixture
def key(sandbox: RunningSandbox, base: str) -> dict[str, str]:
    key: dict[str, str] = sandbox.session.get(f"{base}/service-account.json", timeout=30).json()
    return key


@pytest.fixture
def ask(sandbox: RunningSandbox, key: dict[str, str]) -> Callable[..., requests.Response]:
    """Asks for a token, with other claims or other things than the right ones."""

    def ask(key_id: str | None = None, grant_type: str = GRANT_TYPE, **claims: Any) -> Any:
        now = int(time.time())
        right = {
            "iss": key["client_email"],
            "scope": SCOPE,
            "aud": AUDIENCE,
            "iat": now,
            "exp": now + 3600,
        }
        signer = crypt.RSASigner.from_string(key["private_key"], key_id or key["private_key_id"])
        assertion = jwt.encode(signer, right | claims)
        form = {"grant_type": grant_type, "assertion": assertion}
        return sandbox.session.post(key["token_uri"], data=form, timeout=30)

    return ask


@pytest.fixture
def send(sandbox: RunningSandbox, base: str, ask: Any) -> Callable[..., requests.Response]:
    """Sends a message with a good token."""
    authorization = f"Bearer {ask().json()['access_token']}"

    def send(
        message: Any, project: str = "sandbox-project", authorization: str = authorization
    ) -> requests.Response:
        return sandbox.session.post(
            f"{base}/v1/projects/{project}/messages:send",
            json=message,
            headers={"Authorization": authorization},
            timeout=30,
        )

    return send


def test_an_assertion_is_verified_by_its_signature():
    public_key: Any = serialization.load_pem_public_key(PUBLIC_KEY)

    header, claims = verified(ASSERTION, public_key)

    assert header == {"typ": "JWT", "alg": "RS256", "kid": "kid-1"}
    assert claims["iss"] == "relay@demo-project.iam.gserviceaccount.com"
    body = ASSERTION.split(".")
    for forged in (
        ASSERTION.replace("eyJpYXQiOiAxNz", "eyJpYXQiOiAxOD"),
        ASSERTION + "=",
        ".".join(body[:2]) + ".",
        "",
        ".".join(reversed(body)),
    ):
        with pytest.raises(InvalidSignature):
            verified(forged, public_key)


def test_a_key_is_handed_out_as_google_does_and_brings_a_token(key, ask):
    assert key["type"] == "service_account"
    assert key["project_id"] == "sandbox-project"

    response = ask()

    assert response.status_code == 200
    assert response.json()["expires_in"] == 3599
    assert response.json()["token_type"] == "Bearer"


@pytest.mark.parametrize(
    ("wrong", "error", "text"),
    [
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
    ],
)
def test_a_grant_that_is_wrong_brings_no_token(ask, wrong, error, text):
    response = ask(**wrong)

    assert response.status_code == 400
    assert response.json()["error"] == error
    assert text in response.json()["error_description"]


def test_a_message_is_taken_and_shown(sandbox, send):
    message = {"token": DEVICE, "notification": {"title": "Hi"}, "data": {"k": "v"}}

    response = send({"message": message})

    assert response.status_code == 200
    [record] = sandbox.received(kind="fcm", to=DEVICE)
    assert record["message"] == message
    assert response.json()["name"] == f"projects/sandbox-project/messages/{record['message_id']}"
    assert "ya29" not in str(record)


@pytest.mark.parametrize(
    ("message", "text"),
    [
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
    ],
)
def test_a_message_that_is_wrong_is_refused(sandbox, send, message, text):
    response = send(message)

    assert response.status_code == 400
    error = response.json()["error"]
    assert (error["code"], error["status"]) == (400, "INVALID_ARGUMENT")
    assert text in error["message"]
    assert sandbox.received(outcome="*") == []


def test_a_trial_delivers_nothing(sandbox, send):
    response = send({"message": {"token": DEVICE}, "validate_only": True})

    assert response.json()["name"].endswith("/messages/fake_message_id")
    assert sandbox.received(outcome="*") == []


@pytest.mark.parametrize("authorization", ["", "Bearer another", "Basic YTpi"])
def test_nothing_is_sent_without_a_good_token(send, authorization):
    response = send({"message": {"token": DEVICE}}, authorization=authorization)

    assert response.status_code == 401
    assert response.json()["error"]["status"] == "UNAUTHENTICATED"


def test_revoked_tokens_are_good_no_more(sandbox, base, send):
    sandbox.session.delete(f"{base}/token", timeout=30).raise_for_status()

    assert send({"message": {"token": DEVICE}}).status_code == 401


def test_another_project_is_none_of_ours(send):
    response = send({"message": {"token": DEVICE}}, project="another")

    assert response.status_code == 403
    assert response.json()["error"]["status"] == "PERMISSION_DENIED"


def test_a_token_named_after_an_error_is_answered_with_it(send):
    response = send({"message": {"token": "unregistered-device"}})

    assert response.status_code == 404
    [detail] = response.json()["error"]["details"]
    assert detail["errorCode"] == "UNREGISTERED"


def test_any_other_path_is_not_found(sandbox, base):
    assert sandbox.session.get(f"{base}/v1/projects", timeout=30).status_code == 404
