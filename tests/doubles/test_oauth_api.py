import pytest
import requests

from sandbox.client import RunningSandbox
from tests.doubles.oauth_api import CLIENT_ID, CLIENT_SECRET

# CLIENT_ID and CLIENT_SECRET, each form-encoded, joined, in base64 (RFC 6749, 2.3.1).
BASIC = {"Authorization": "Basic c2FuZGJveCUzQWNsaWVudDpzYW5kJTJGYiUyQngrc2VjcmV0JTI1"}
GRANT = {"grant_type": "client_credentials"}
IN_BODY = {"data": {**GRANT, "client_id": CLIENT_ID, "client_secret": CLIENT_SECRET}}


@pytest.mark.parametrize("request_of_token", [{"data": GRANT, "headers": BASIC}, IN_BODY])
def test_token_gives_access_until_it_is_revoked(sandbox: RunningSandbox, request_of_token) -> None:
    url = f"{sandbox.http_url}/oauth-api"
    answer = sandbox.session.post(f"{url}/token", **request_of_token, timeout=30)
    token = answer.json()
    assert (answer.status_code, answer.headers["Cache-Control"]) == (200, "no-store")
    assert (token["token_type"], token["expires_in"]) == ("Bearer", 3600)

    def call() -> requests.Response:
        headers = {"Authorization": f"Bearer {token['access_token']}"}
        return sandbox.session.post(f"{url}/orders/7", headers=headers, timeout=30)

    assert call().status_code == 200
    [record] = sandbox.received(kind="oauth-api")
    assert (record["to"], token["access_token"] in str(record)) == ("orders/7", False)

    sandbox.session.delete(f"{url}/token", timeout=30)

    assert (call().status_code, call().json()) == (401, {"error": "invalid_token"})


def test_only_the_client_gets_a_token(sandbox: RunningSandbox) -> None:
    cases = [
        ({"json": GRANT, "headers": BASIC}, 400, "invalid_request"),
        ({"data": {}, "headers": BASIC}, 400, "invalid_request"),
        ({"data": {**GRANT, "client_id": "x"}, "headers": BASIC}, 400, "invalid_request"),
        (
            {"data": {"grant_type": "password"}, "headers": BASIC},
            400,
            "unsupported_grant_type",
        ),
        ({"data": GRANT}, 401, "invalid_client"),
        ({"data": GRANT, "headers": {"Authorization": "Basic %"}}, 401, "invalid_client"),
        # requests joins and encodes the pair, but does not form-encode it first.
        ({"data": GRANT, "auth": (CLIENT_ID, CLIENT_SECRET)}, 401, "invalid_client"),
    ]
    failures = []
    for arguments, status, error in cases:
        url = f"{sandbox.http_url}/oauth-api/token"
        answer = sandbox.session.post(url, timeout=30, **arguments)
        if (answer.status_code, answer.json()) != (status, {"error": error}):
            failures.append((arguments, answer.status_code, answer.text))

    assert not failures
