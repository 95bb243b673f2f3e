"""Who we are to an API: tokens that are fetched, and signatures."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from connectors.base import Misconfigured, Rejected
from connectors.toolkit import standard_webhooks
from sandbox.api import SIGNING_SECRET
from sandbox.client import RunningSandbox
from tests.doubles.client import running_doubles
from tests.doubles.oauth_api import CLIENT_ID, CLIENT_SECRET

OTHER_SECRET = "whsec_" + "A" * 32


@pytest.fixture(scope="module")
def sandbox_process() -> Iterator[RunningSandbox]:
    with running_doubles() as sandbox:
        yield sandbox


@pytest.fixture
def sandbox(sandbox_process) -> RunningSandbox:
    sandbox_process.clear()
    return sandbox_process


# --- OAuth 2.0


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


@pytest.mark.parametrize("client_auth", ["basic", "body"])
def test_a_token_is_fetched_for_the_first_message_and_kept(
    make_oauth_api, make_call, sandbox, client_auth
):
    api = make_oauth_api(client_auth=client_auth, scopes=[client_auth])

    for number in range(3):
        api.send(make_call(recipient=f"/orders/{number}"))

    assert [record["to"] for record in sandbox.received(kind="oauth-api")] == [
        "orders/0",
        "orders/1",
        "orders/2",
    ]


def test_a_token_that_is_refused_is_fetched_anew_once(make_oauth_api, make_call, sandbox):
    api = make_oauth_api(scopes=["anew"])
    api.send(make_call())
    sandbox.session.delete(f"{sandbox.http_url}/oauth-api/token", timeout=30)

    accepted = api.send(make_call())

    assert accepted.code == "200"
    assert sandbox.count()["by_outcome"] == {"accepted": 2}


def test_a_401_to_a_new_token_too_is_a_misconfiguration(make_oauth_api, make_call, sandbox):
    sandbox.control("messages", {"status": 401}, kind="oauth-api")

    with pytest.raises(Misconfigured, match="401"):
        make_oauth_api(scopes=["refused"]).send(make_call())

    assert sandbox.count()["by_outcome"] == {"refused": 2}


def test_without_a_token_the_message_is_not_sent(make_oauth_api, make_call, sandbox):
    with pytest.raises(Misconfigured, match="invalid_client") as raised:
        make_oauth_api(client_secret="wr0ng").send(make_call())

    assert "wr0ng" not in str(raised.value)
    assert sandbox.received(outcome="*") == []


def test_an_error_shows_no_fetched_token(make_api, make_call, provider):
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

    with pytest.raises(Rejected) as raised:
        api.send(make_call())

    assert provider.received[1].headers["Authorization"] == "Token t0ken-they-gave"
    assert raised.value.detail == "no: ***"


def test_a_service_account_fetches_its_tokens_from_google(make_api, make_call, provider):
    private_key = rsa.generate_private_key(65537, 2048).private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    key = {
        "type": "service_account",
        "client_email": "postroom@project.iam.gserviceaccount.com",
        "private_key": private_key.decode(),
        "token_uri": f"{provider.url}/token",
    }
    token = {"access_token": "ya29.token", "expires_in": 3600, "token_type": "Bearer"}
    provider.answer(200, json.dumps(token).encode(), Content_Type="application/json")
    scopes = ["https://www.googleapis.com/auth/cloud-platform"]

    make_api(service_account={"key": json.dumps(key), "scopes": scopes}).send(make_call())

    asked, sent = provider.received
    assert asked.path == "/token"
    assert b"grant-type%3Ajwt-bearer" in asked.body
    assert sent.headers["Authorization"] == "Bearer ya29.token"


def test_the_deadline_has_room_for_a_new_token_and_a_second_try(make_api, make_oauth_api):
    api = make_oauth_api()

    assert make_api().deadline.total_seconds() == 0.4
    assert api.deadline > 2 * (api._tokens.wait_limit + make_api(total_timeout_seconds=9).deadline)


# --- Standard Webhooks


def test_a_request_is_signed_so_that_its_receiver_can_verify_it(make_api, make_call, sandbox):
    limits = {"read_timeout_seconds": 10, "total_timeout_seconds": 10}
    api = make_api(uri=sandbox.api_url, signing_secrets=[SIGNING_SECRET], **limits)

    api.send(make_call(payload={"type": "order.paid", "data": {"name": "ё"}}))
    api.send(make_call(body=""))

    assert [record["signed"] for record in sandbox.received(kind="api")] == [True, True]


def test_each_try_has_the_same_id_its_own_time_and_a_signature_by_each_secret(
    make_api, make_call, provider
):
    api = make_api(signing_secrets=[SIGNING_SECRET, OTHER_SECRET], body_template="ё")
    begun_at = datetime.now(UTC)

    api.send(make_call())
    api.send(make_call())

    for received in provider.received:
        headers = {name.lower(): value for name, value in received.headers.items()}
        assert headers["webhook-id"] == "018f-uid-1"
        assert len(headers["webhook-signature"].split(" ")) == 2
        for secret in api.settings.signing_secrets:
            standard_webhooks.verify([secret], headers, "ё".encode(), begun_at)


@pytest.mark.parametrize("name", ["webhook-id", "Webhook-Timestamp", "WEBHOOK-SIGNATURE"])
def test_a_message_may_not_sign_for_us(make_api, make_call, provider, name):
    with pytest.raises(Rejected, match="header_not_allowed"):
        make_api(signing_secrets=[SIGNING_SECRET]).send(make_call(headers={name: "x"}))
    assert provider.received == []


@pytest.mark.parametrize(("secrets", "suppress"), [([SIGNING_SECRET], True), ([], False)])
def test_a_receiver_of_webhooks_that_is_gone_gets_no_more(
    make_api, make_call, provider, secrets, suppress
):
    provider.answer(410)

    with pytest.raises(Rejected) as raised:
        make_api(signing_secrets=secrets).send(make_call())

    assert (raised.value.code, raised.value.suppress) == ("410", suppress)


def test_no_secret_is_shown_with_the_settings(make_api):
    settings = make_api(
        signing_secrets=[SIGNING_SECRET],
        oauth={"token_url": "http://host/", "client_id": "we", "client_secret": "s3cret"},
    ).settings

    assert SIGNING_SECRET not in repr(settings)
    assert "s3cret" not in repr(settings)
