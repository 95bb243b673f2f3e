import base64
import json
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import pytest
from google.auth import _helpers as google_clock
from pydantic import BaseModel, SecretStr, ValidationError

from connectors.base import Misconfigured, Unavailable
from connectors.toolkit import tokens
from connectors.toolkit.http.replies import Response
from connectors.toolkit.oauth import (
    ClientCredentials,
    ServiceAccountKey,
    _token,
    basic,
    client_credentials,
    service_account,
)
from connectors.toolkit.tokens import ProcessStore, TokenSource
from tests.doubles.google_accounts import verify
from tests.doubles.service_accounts import key_file, private_key

SECRET = "p@ss/w+rd %"
SCOPE = "https://www.googleapis.com/auth/firebase.messaging"
GRANTED = b'{"access_token": "t0ken", "expires_in": 3600, "token_type": "bearer"}'

# The assertion of a service account at this moment, as far as it does not depend on its key.
ISSUED_AT = datetime(2023, 11, 14, 22, 13, 20)  # noqa: DTZ001 - google-auth's clock is naive
SIGNED = (
    "eyJ0eXAiOiAiSldUIiwgImFsZyI6ICJSUzI1NiIsICJraWQiOiAia2lkLTEifQ."
    "eyJpYXQiOiAxNzAwMDAwMDAwLCAiZXhwIjogMTcwMDAwMzYwMCwgImlzcyI6ICJyZWxheUBkZW1vLXByb2plY3QuaWFtL"
    "mdzZXJ2aWNlYWNjb3VudC5jb20iLCAiYXVkIjogImh0dHBzOi8vb2F1dGgyLmdvb2dsZWFwaXMuY29tL3Rva2VuIiwgIn"
    "Njb3BlIjogImh0dHBzOi8vd3d3Lmdvb2dsZWFwaXMuY29tL2F1dGgvZmlyZWJhc2UubWVzc2FnaW5nIn0"
)


@pytest.fixture(autouse=True)
def own_store() -> Iterator[None]:
    tokens.share(ProcessStore())
    yield
    tokens.share(ProcessStore())


@pytest.fixture
def make_client_credentials(provider, client) -> Callable[..., TokenSource]:
    def make(**settings: Any) -> TokenSource:
        given = {
            "token_url": f"{provider.url}/token",
            "client_id": "relay:client",
            "client_secret": SECRET,
            **settings,
        }
        return client_credentials(ClientCredentials(**given), client, timedelta(seconds=1))

    return make


@pytest.fixture
def make_source(make_client_credentials, provider, client) -> Callable[[str], TokenSource]:
    """A source of either kind."""

    def make(kind: str) -> TokenSource:
        if kind == "client":
            return make_client_credentials()
        key = SecretStr(key_file(token_uri=f"{provider.url}/token"))
        return service_account(key, [SCOPE], client, timedelta(seconds=1))

    return make


@pytest.fixture
def google(make_source) -> TokenSource:
    return make_source("google")


def test_a_client_asks_for_its_token_with_the_header(make_client_credentials, provider):
    provider.answer(200, GRANTED)

    source = make_client_credentials(scopes=["messages.send", "messages.read"])

    assert source.get() == "t0ken"
    [received] = provider.received
    assert (received.method, received.path) == ("POST", "/token")
    assert received.headers["Content-Type"] == "application/x-www-form-urlencoded"
    assert received.headers["Authorization"] == (
        "Basic cmVsYXklM0FjbGllbnQ6cCU0MHNzJTJGdyUyQnJkKyUyNQ=="
    )
    assert received.body == b"grant_type=client_credentials&scope=messages.send+messages.read"


def test_id_and_secret_are_form_encoded_before_they_are_joined():
    encoded = base64.b64decode(basic("relay:client", SECRET).removeprefix("Basic "))

    assert encoded == b"relay%3Aclient:p%40ss%2Fw%2Brd+%25"


def test_a_client_asks_for_its_token_with_the_body(make_client_credentials, provider):
    provider.answer(200, GRANTED)

    make_client_credentials(client_auth="body", audience="https://api.test/").get()

    [received] = provider.received
    assert received.headers["Authorization"] is None
    assert parse_qs(received.body.decode()) == {
        "grant_type": ["client_credentials"],
        "audience": ["https://api.test/"],
        "client_id": ["relay:client"],
        "client_secret": [SECRET],
    }


def test_clients_with_other_rights_have_tokens_of_their_own(make_client_credentials, provider):
    provider.answer(200, GRANTED)

    for settings in ({}, {"scopes": ["a"]}, {"audience": "b"}, {"client_id": "c"}, {}):
        make_client_credentials(**settings).get()

    assert len(provider.received) == 4


@pytest.mark.parametrize(
    ("fields", "lifetime_seconds"),
    [
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
    ],
)
def test_the_lifetime_of_a_token_is_read_with_care(fields, lifetime_seconds):
    body = json.dumps({"access_token": "t", **fields}).encode()

    assert _token(Response(200, {}, body)).lifetime == timedelta(seconds=lifetime_seconds)


@pytest.mark.parametrize("kind", ["client", "google"])
@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<html>",
        b"[]",
        b"{}",
        b'{"access_token": ""}',
        b'{"access_token": 1}',
        b'{"access_token": "a\\r\\nb"}',
        b'{"access_token": "t0ken", "token_type": "mac"}',
        b'{"access_token": "t0ken", "token_type": 1}',
    ],
)
def test_an_answer_without_a_token_that_can_be_used_is_no_token(make_source, provider, body, kind):
    provider.answer(200, body)

    with pytest.raises(Misconfigured) as raised:
        make_source(kind).get()
    assert "t0ken" not in str(raised.value)


ERRORS = [
    (400, {"error": "invalid_request"}, Misconfigured, "invalid_request"),
    (401, {"error": "invalid_client"}, Misconfigured, "invalid_client"),
    (400, {"error": "invalid_grant"}, Misconfigured, "invalid_grant"),
    (400, {"error": "unauthorized_client"}, Misconfigured, "unauthorized_client"),
    (400, {"error": "unsupported_grant_type"}, Misconfigured, "unsupported_grant_type"),
    (400, {"error": "invalid_scope"}, Misconfigured, "invalid_scope"),
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


@pytest.mark.parametrize("kind", ["client", "google"])
@pytest.mark.parametrize(("status", "body", "outcome", "code"), ERRORS)
def test_an_error_of_the_endpoint_is_told_from_one_that_passes(
    make_source, provider, status, body, outcome, code, kind
):
    provider.answer(status, json.dumps(body).encode() if status != 204 else b"", Retry_After="7")

    with pytest.raises(outcome) as raised:
        make_source(kind).get()

    assert raised.value.code == code
    assert f"the token endpoint answers {status}" in raised.value.detail
    # google-auth would sleep, and ask again.
    assert len(provider.received) == 1
    if outcome is Unavailable and status >= 408:
        assert raised.value.retry_after == timedelta(seconds=7)


def test_no_secret_is_in_an_error(make_client_credentials, provider):
    echo = f"wrong: {SECRET} {basic('relay:client', SECRET)}"
    provider.answer(401, json.dumps({"error": SECRET, "error_description": echo}).encode())

    with pytest.raises(Misconfigured) as raised:
        make_client_credentials().get()

    assert raised.value.code == "***"
    assert raised.value.detail == "the token endpoint answers 401: wrong: *** ***"


@pytest.mark.parametrize("misbehaviour", ["hang", "reset"])
@pytest.mark.parametrize("kind", ["client", "google"])
def test_an_endpoint_that_says_nothing_leaves_the_message_unsent(
    make_source, provider, misbehaviour, kind
):
    getattr(provider, misbehaviour)()

    with pytest.raises(Unavailable):
        make_source(kind).get()


def test_a_service_account_signs_for_its_token(google, provider, monkeypatch):
    monkeypatch.setattr(google_clock, "utcnow", lambda: ISSUED_AT)
    provider.answer(200, GRANTED)

    assert google.get() == "t0ken"

    [received] = provider.received
    assert (received.method, received.path) == ("POST", "/token")
    assert received.headers["Content-Type"] == "application/x-www-form-urlencoded"
    head, assertion, tail = received.body.decode().partition(SIGNED)
    signature, _, rest = tail.partition("&")
    assert (head, assertion) == ("assertion=", SIGNED)
    assert rest == "grant_type=urn%3Aietf%3Aparams%3Aoauth%3Agrant-type%3Ajwt-bearer"
    verify(SIGNED + signature, private_key().public_key())


@pytest.mark.parametrize("lifetime", [b"3600", b'"soon"', b"1e400", b"[]", b"59.5"])
def test_no_lifetime_upsets_google_auth(google, provider, lifetime):
    provider.answer(200, b'{"access_token": "t0ken", "expires_in": ' + lifetime + b"}")

    assert google.get() == "t0ken"


def test_a_key_is_given_as_text_or_as_a_file(tmp_path: Path):
    class Settings(BaseModel):
        key: ServiceAccountKey

    file = tmp_path / "key.json"
    file.write_text(key_file())

    by_file, by_text = Settings(key=str(file)), Settings(key=key_file())
    assert by_file.key.get_secret_value() == by_text.key.get_secret_value() == key_file()
    assert "PRIVATE" not in repr(by_file)


@pytest.mark.parametrize(
    "key",
    [
        "",
        "/no/such/file",
        "{",
        "{}",
        '{"s3cret": 1}',
        key_file(private_key="s3cret"),
        key_file(universe_domain="s3cret"),
        key_file(token_uri="ftp://s3cret/"),
        key_file(token_uri="http://s3cret@host/"),
    ],
)
def test_a_key_that_is_none_is_refused_without_showing_it(key):
    class Settings(ClientCredentials):
        key: ServiceAccountKey

    with pytest.raises(ValidationError) as raised:
        Settings(token_url="http://host/", client_id="a", client_secret="b", key=key)

    [error] = raised.value.errors(include_input=False)
    assert error["loc"] == ("key",)
    assert "s3cret" not in str(raised.value)


@pytest.mark.parametrize(
    ("settings", "key"),
    [
        ({"token_url": "token"}, "token_url"),
        ({"client_id": ""}, "client_id"),
        ({"client_secret": ""}, "client_secret"),
        ({"scopes": [""]}, "scopes"),
        ({"client_auth": "digest"}, "client_auth"),
        ({"no_such": 1}, "no_such"),
    ],
)
def test_bad_settings_of_a_client_are_refused_by_name(settings, key):
    given = {"token_url": "http://host/", "client_id": "a", "client_secret": "b", **settings}

    with pytest.raises(ValidationError, match=key):
        ClientCredentials(**given)
