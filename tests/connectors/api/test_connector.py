import json
from collections.abc import Iterator
from datetime import UTC, datetime

import pytest

from connectors.base import Accepted, Misconfigured, Rejected
from connectors.toolkit import signatures
from sandbox.api import SIGNING_SECRET
from sandbox.client import RunningSandbox
from tests.connectors.sending import outcome
from tests.doubles.client import running_doubles
from tests.doubles.oauth_api import CLIENT_ID, CLIENT_SECRET
from tests.doubles.service_accounts import key_file

TOKEN = "t0ken-of-ours"
OTHER_SECRET = "whsec_" + "A" * 32


@pytest.fixture(scope="module")
def sandbox_process() -> Iterator[RunningSandbox]:
    with running_doubles() as sandbox:
        yield sandbox


@pytest.fixture
def sandbox(sandbox_process) -> RunningSandbox:
    sandbox_process.clear()
    return sandbox_process


@pytest.fixture
def make_oauth_api(make_api, sandbox):
    def make(**client):
        oauth = {
            "token_url": f"{sandbox.http_url}/oauth-api/token",
            "client_id": CLIENT_ID,
            "client_secret": CLIENT_SECRET,
            **client,
        }
        limits = {"read_timeout_seconds": 10, "total_timeout_seconds": 10}
        return make_api(uri=f"{sandbox.http_url}/oauth-api", oauth=oauth, **limits)

    return make


def test_static_token_is_sent_in_the_authorization_header(make_api, make_call, provider):
    for settings, authorization in [
        ({"token": TOKEN}, f"Bearer {TOKEN}"),
        ({"token": "dTpw", "auth_scheme": "Basic"}, "Basic dTpw"),
        ({"token": ""}, None),
    ]:
        make_api(**settings).send(make_call())
        assert provider.received[-1].headers["Authorization"] == authorization


@pytest.mark.parametrize("client_auth", ["basic", "body"])
def test_oauth_token_is_fetched_once_and_reused(make_oauth_api, make_call, sandbox, client_auth):
    api = make_oauth_api(client_auth=client_auth, scopes=[client_auth])

    for number in range(3):
        api.send(make_call(recipient=f"/orders/{number}"))

    paths = [record["to"] for record in sandbox.received(kind="oauth-api")]
    assert paths == ["orders/0", "orders/1", "orders/2"]


def test_rejected_oauth_token_is_replaced(make_oauth_api, make_call, sandbox):
    api = make_oauth_api(scopes=["replaced"])
    api.send(make_call())
    sandbox.session.delete(f"{sandbox.http_url}/oauth-api/token", timeout=30)

    accepted = api.send(make_call())

    assert accepted.code == "200"
    assert sandbox.count()["by_outcome"] == {"accepted": 2}


def test_second_rejected_oauth_token_is_misconfigured(make_oauth_api, make_call, sandbox):
    sandbox.control("messages", {"status": 401}, kind="oauth-api")

    error = outcome(make_oauth_api(scopes=["rejected"]), make_call())

    assert isinstance(error, Misconfigured)
    assert error.code == "401"
    assert sandbox.count()["by_outcome"] == {"refused": 2}


def test_message_is_not_sent_without_a_token(make_oauth_api, make_call, sandbox):
    error = outcome(make_oauth_api(client_secret="wr0ng"), make_call())

    assert isinstance(error, Misconfigured)
    assert error.code == "invalid_client"
    assert "wr0ng" not in str(error)
    assert sandbox.received(outcome="*") == []


def test_errors_do_not_reveal_a_fetched_token(make_api, make_call, provider):
    def behave(handler):
        body = json.dumps({"access_token": "t0ken-they-gave", "expires_in": 3600}).encode()
        status = b"200 OK"
        if not handler.path.endswith("/token"):
            status, body = b"400 No", b"no: t0ken-they-gave"
        head = b"HTTP/1.1 %s\r\nContent-Length: %d\r\n\r\n" % (status, len(body))
        handler.wfile.write(head + body)

    provider.behave = behave
    api = make_api(
        auth_scheme="Token",
        oauth={"token_url": f"{provider.url}/token", "client_id": "we", "client_secret": "s"},
    )

    error = outcome(api, make_call())

    assert isinstance(error, Rejected)
    assert provider.received[1].headers["Authorization"] == "Token t0ken-they-gave"
    assert error.detail == "no: ***"


def test_service_account_fetches_its_tokens_from_google(make_api, make_call, provider):
    token = {"access_token": "ya29.token", "expires_in": 3600, "token_type": "Bearer"}
    provider.answer(200, json.dumps(token).encode(), Content_Type="application/json")
    account = {
        "key": key_file(token_uri=f"{provider.url}/token"),
        "scopes": ["https://www.googleapis.com/auth/cloud-platform"],
    }

    make_api(service_account=account).send(make_call())

    asked, sent = provider.received
    assert asked.path == "/token"
    assert b"grant_type=urn%3Aietf%3Aparams%3Aoauth%3Agrant-type%3Ajwt-bearer" in asked.body
    assert sent.headers["Authorization"] == "Bearer ya29.token"


def test_deadline_allows_for_a_new_token_and_a_second_request(make_api, make_oauth_api):
    api = make_oauth_api()

    assert make_api().send_timeout.total_seconds() == 0.4
    assert api.send_timeout > 2 * (
        api._tokens.wait_limit + make_api(total_timeout_seconds=9).send_timeout
    )


def test_receiver_can_verify_a_signed_request(make_api, make_call, sandbox):
    limits = {"read_timeout_seconds": 10, "total_timeout_seconds": 10}
    api = make_api(uri=sandbox.api_url, signing_secrets=[SIGNING_SECRET], **limits)

    api.send(make_call(payload={"type": "order.paid", "data": {"name": "ё"}}))
    api.send(make_call(body=""))

    assert [record["signed"] for record in sandbox.received(kind="api")] == [True, True]


def test_each_attempt_has_the_same_id_and_a_signature_by_each_secret(make_api, make_call, provider):
    api = make_api(signing_secrets=[SIGNING_SECRET, OTHER_SECRET], body_template="ё")
    started_at = datetime.now(UTC)

    for _ in range(2):
        assert isinstance(outcome(api, make_call()), Accepted)

    for received in provider.received:
        headers = {name.lower(): value for name, value in received.headers.items()}
        assert headers["webhook-id"] == "018f-uid-1"
        assert len(headers["webhook-signature"].split(" ")) == 2
        for secret in api.settings.signing_secrets:
            signatures.verify_standard([secret], headers, "ё".encode(), started_at)
