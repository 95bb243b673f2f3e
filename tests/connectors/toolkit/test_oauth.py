import base64
import json
from collections.abc import Callable
from datetime import timedelta
from typing import Any
from urllib.parse import parse_qs, quote_plus

import pytest

from connectors.base import Misconfigured, Unavailable
from connectors.toolkit.http import Response
from connectors.toolkit.oauth import ClientCredentials, client_credentials, read_token
from connectors.toolkit.tokens import TokenSource

SECRET = "p@ss/w+rd %"
GRANTED = b'{"access_token": "t0ken", "expires_in": 3600, "token_type": "bearer"}'

pytestmark = pytest.mark.usefixtures("token_store")


@pytest.fixture
def make_source(provider, client) -> Callable[..., TokenSource]:
    def make(**settings: Any) -> TokenSource:
        defaults = {
            "token_url": f"{provider.url}/token",
            "client_id": "relay:client",
            "client_secret": SECRET,
        }
        return client_credentials(
            ClientCredentials(**{**defaults, **settings}), client, timedelta(seconds=1)
        )

    return make


def test_client_authenticates_with_form_encoded_basic_credentials(make_source, provider):
    provider.answer(200, GRANTED)

    source = make_source(scopes=["messages.send", "messages.read"])

    assert source.get() == "t0ken"
    [received] = provider.received
    assert (received.method, received.path) == ("POST", "/token")
    assert received.headers["Content-Type"] == "application/x-www-form-urlencoded"
    credentials = base64.b64decode(received.headers["Authorization"].removeprefix("Basic "))
    assert credentials == b"relay%3Aclient:p%40ss%2Fw%2Brd+%25"
    assert received.body == b"grant_type=client_credentials&scope=messages.send+messages.read"


def test_client_authenticates_in_the_body(make_source, provider):
    provider.answer(200, GRANTED)

    make_source(client_auth="body", audience="https://api.test/").get()

    [received] = provider.received
    assert received.headers["Authorization"] is None
    assert parse_qs(received.body.decode()) == {
        "grant_type": ["client_credentials"],
        "audience": ["https://api.test/"],
        "client_id": ["relay:client"],
        "client_secret": [SECRET],
    }


def test_clients_with_different_scopes_do_not_share_tokens(make_source, provider):
    provider.answer(200, GRANTED)

    for settings in ({}, {"scopes": ["a"]}, {"audience": "b"}, {"client_id": "c"}, {}):
        make_source(**settings).get()

    assert len(provider.received) == 4


def test_missing_or_invalid_lifetime_is_replaced_by_a_default():
    rows: list[tuple[dict[str, Any], float]] = [
        ({"expires_in": 3600}, 3600),
        ({"expires_in": "3600"}, 3600),
        ({"expires_in": 59.5}, 59.5),
        ({}, 300),
        ({"expires_in": None}, 300),
        ({"expires_in": "soon"}, 300),
        ({"expires_in": 0}, 300),
        ({"expires_in": -1}, 300),
        ({"expires_in": "nan"}, 300),
        ({"expires_in": "inf"}, 300),
        ({"expires_in": [1]}, 300),
        ({"expires_in": 10**9}, 86400),
        ({"expires_in": 10**400}, 300),
    ]
    failures = []
    for fields, seconds in rows:
        body = json.dumps({"access_token": "t", **fields}).encode()
        lifetime = read_token(Response(200, {}, body)).lifetime
        if lifetime != timedelta(seconds=seconds):
            failures.append((fields, lifetime))
    assert not failures


def test_response_without_a_usable_token_is_misconfigured():
    bodies = [
        b"",
        b"<html>",
        b"[]",
        b"{}",
        b'{"access_token": ""}',
        b'{"access_token": 1}',
        b'{"access_token": "a\\r\\nb"}',
        b'{"access_token": "t0ken", "token_type": "mac"}',
        b'{"access_token": "t0ken", "token_type": 1}',
    ]
    for body in bodies:
        with pytest.raises(Misconfigured) as raised:
            read_token(Response(200, {}, body))
        assert "t0ken" not in str(raised.value)


def test_errors_of_the_endpoint_are_classified():
    rows: list[tuple[int, dict[str, Any], type[Unavailable | Misconfigured], str]] = [
        (400, {"error": "invalid_request"}, Misconfigured, "invalid_request"),
        (401, {"error": "invalid_client"}, Misconfigured, "invalid_client"),
        (404, {}, Misconfigured, "404"),
        (302, {}, Misconfigured, "302"),
        (204, {}, Misconfigured, "204"),
        (400, {"error": "temporarily_unavailable"}, Unavailable, "temporarily_unavailable"),
        (400, {"error": "server_error"}, Unavailable, "server_error"),
        (400, {"error": "internal_failure"}, Unavailable, "internal_failure"),
        (408, {}, Unavailable, "408"),
        (429, {"error": "slow_down"}, Unavailable, "slow_down"),
        (500, {}, Unavailable, "500"),
        (503, {"error": 1}, Unavailable, "503"),
    ]
    failures = []
    for status, fields, outcome, code in rows:
        response = Response(status, {"Retry-After": "7"}, json.dumps(fields).encode())
        with pytest.raises((Unavailable, Misconfigured)) as raised:
            read_token(response)
        error = raised.value
        wait = getattr(error, "retry_after", None)
        expected_wait = timedelta(seconds=7) if status in {408, 429, 500, 503} else None
        if (type(error), error.code, wait) != (outcome, code, expected_wait):
            failures.append((status, fields, error))
        assert f"the token endpoint returned {status}" in error.detail
    assert not failures


def test_errors_contain_no_secrets(make_source, provider):
    pair = f"{quote_plus('relay:client')}:{quote_plus(SECRET)}"
    quoted = f"wrong: {SECRET} Basic {base64.b64encode(pair.encode()).decode()}"
    provider.answer(401, json.dumps({"error": SECRET, "error_description": quoted}).encode())

    with pytest.raises(Misconfigured) as raised:
        make_source().get()

    assert raised.value.code == "***"
    assert raised.value.detail == "the token endpoint returned 401: wrong: *** ***"


def test_endpoint_without_a_response_is_unavailable_because_no_message_was_sent(
    make_source, provider
):
    for misbehave in (provider.hang, provider.reset):
        misbehave()
        with pytest.raises(Unavailable):
            make_source().get()
