"""The generic API's simulator: it looks at signatures, and at tokens where it asks for them."""

import base64
import hmac
import json
import time
from typing import Any

import pytest
import requests

from sandbox.client import RunningSandbox
from sandbox.providers.api import CLIENT_ID, CLIENT_SECRET, SIGNING_SECRET

BODY = b'{"type": "message.sent"}'
# CLIENT_ID and CLIENT_SECRET, each form-encoded, joined, in base64 (RFC 6749, 2.3.1).
BASIC = "Basic c2FuZGJveCUzQWNsaWVudDpzYW5kJTJGYiUyQngrc2VjcmV0JTI1"
GRANT = {"grant_type": "client_credentials"}


def signature_headers(age_seconds: int = 0, **changes: str) -> dict[str, str]:
    timestamp = str(int(time.time()) - age_seconds)
    key = base64.b64decode(SIGNING_SECRET.removeprefix("whsec_"))
    digest = hmac.digest(key, b"id-1." + timestamp.encode() + b"." + BODY, "sha256")
    return {
        "webhook-id": "id-1",
        "webhook-timestamp": timestamp,
        "webhook-signature": "v1,b2xk v1," + base64.b64encode(digest).decode(),
        **{f"webhook-{name}": value for name, value in changes.items()},
    }


@pytest.mark.parametrize(
    ("signature", "status"),
    [
        ({}, 200),
        ({"age_seconds": 200}, 200),
        ({"age_seconds": 400}, 401),
        ({"age_seconds": -400}, 401),
        ({"id": "id-2"}, 401),
        ({"id": "id.1"}, 401),
        ({"id": ""}, 401),
        ({"timestamp": "soon"}, 401),
        ({"signature": "v1,AAAA"}, 401),
        ({"signature": ""}, 401),
    ],
)
def test_a_signature_must_fit(
    sandbox: RunningSandbox, signature: dict[str, Any], status: int
) -> None:
    response = sandbox.session.post(
        f"{sandbox.api_url}/hook", data=BODY, headers=signature_headers(**signature), timeout=30
    )

    assert response.status_code == status
    kept = [record["signed"] for record in sandbox.received(kind="api")]
    assert kept == ([True] if status == 200 else [])


def test_it_calls_back_with_a_signature(sandbox: RunningSandbox, listener: Any) -> None:
    asked = {"url": f"{listener.url}/hook", "body": {"from": "+1", "body": "ё"}, "id": "id-1"}

    answer = sandbox.session.post(f"{sandbox.api_url}/_webhook", json=asked, timeout=30)

    assert (answer.status_code, answer.json()) == (202, {"id": "id-1"})
    call = listener.next_call()
    assert (call.path, json.loads(call.body)) == ("/hook", asked["body"])
    # What it signs, it also takes.
    signed = {name: value for name, value in call.headers.items() if name.startswith("webhook-")}
    back = sandbox.session.post(
        f"{sandbox.api_url}/hook", data=call.body, headers=signed, timeout=30
    )
    assert (len(signed), back.status_code) == (3, 200)


@pytest.mark.parametrize("body", [b"", b"[]", b'{"url": "http://a/"}', b'{"body": {}}'])
def test_it_calls_nobody_back_without_knowing_whom_and_with_what(
    sandbox: RunningSandbox, body: bytes
) -> None:
    response = sandbox.session.post(f"{sandbox.api_url}/_webhook", data=body, timeout=30)

    assert response.status_code == 400


def ask_for_token(sandbox: RunningSandbox, **arguments: Any) -> requests.Response:
    return sandbox.session.post(f"{sandbox.http_url}/oauth-api/token", timeout=30, **arguments)


@pytest.mark.parametrize(
    "request_of_token",
    [
        {"data": GRANT, "headers": {"Authorization": BASIC}},
        {"data": {**GRANT, "client_id": CLIENT_ID, "client_secret": CLIENT_SECRET}},
    ],
)
def test_a_token_opens_the_api_until_it_is_taken_back(
    sandbox: RunningSandbox, request_of_token: dict[str, Any]
) -> None:
    answer = ask_for_token(sandbox, **request_of_token)
    assert (answer.status_code, answer.headers["Cache-Control"]) == (200, "no-store")
    token = answer.json()
    assert (token["token_type"], token["expires_in"]) == ("Bearer", 3600)
    headers = {"Authorization": f"Bearer {token['access_token']}"}
    url = f"{sandbox.http_url}/oauth-api/orders/7"

    assert sandbox.session.post(url, data=BODY, headers=headers, timeout=30).status_code == 200
    [record] = sandbox.received(kind="oauth-api")
    assert (record["to"], token["access_token"] in str(record)) == ("orders/7", False)

    sandbox.session.delete(f"{sandbox.http_url}/oauth-api/token", timeout=30)
    refused = sandbox.session.post(url, data=BODY, headers=headers, timeout=30)
    assert (refused.status_code, refused.json()) == (401, {"error": "invalid_token"})


@pytest.mark.parametrize("headers", [{}, {"Authorization": "Bearer x"}, {"Authorization": BASIC}])
def test_without_a_token_nothing_is_taken(sandbox: RunningSandbox, headers: dict[str, str]) -> None:
    response = sandbox.session.get(
        f"{sandbox.http_url}/oauth-api/orders", headers=headers, timeout=30
    )

    assert response.status_code == 401
    assert response.headers["WWW-Authenticate"].startswith("Bearer ")
    assert sandbox.received(kind="oauth-api", outcome="*") == []


@pytest.mark.parametrize(
    ("arguments", "status", "error"),
    [
        ({"json": GRANT, "headers": {"Authorization": BASIC}}, 400, "invalid_request"),
        ({"data": {}, "headers": {"Authorization": BASIC}}, 400, "invalid_request"),
        ({"data": {**GRANT, "client_id": "x"}, "headers": {"Authorization": BASIC}}, 400, None),
        (
            {"data": {"grant_type": "password"}, "headers": {"Authorization": BASIC}},
            400,
            "unsupported_grant_type",
        ),
        ({"data": GRANT}, 401, "invalid_client"),
        ({"data": GRANT, "headers": {"Authorization": "Basic %"}}, 401, "invalid_client"),
        # Joined and encoded, but not form-encoded first.
        (
            {"data": GRANT, "auth": (CLIENT_ID, CLIENT_SECRET)},
            401,
            "invalid_client",
        ),
    ],
)
def test_only_the_client_gets_a_token(
    sandbox: RunningSandbox, arguments: dict[str, Any], status: int, error: str | None
) -> None:
    response = ask_for_token(sandbox, **arguments)

    assert response.status_code == status
    assert response.json()["error"] == (error or "invalid_request")
