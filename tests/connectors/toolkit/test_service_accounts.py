import json
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from google.auth import _helpers as google_clock
from pydantic import BaseModel, SecretStr, ValidationError

from connectors.base import Misconfigured, Unavailable
from connectors.toolkit.service_accounts import ServiceAccountKey, service_account
from connectors.toolkit.tokens import TokenSource
from tests.doubles.google_accounts import verify
from tests.doubles.service_accounts import key_file, private_key

SCOPE = "https://www.googleapis.com/auth/firebase.messaging"
GRANTED = b'{"access_token": "t0ken", "expires_in": 3600, "token_type": "bearer"}'

# The part of the assertion issued at this time that does not depend on the key.
ISSUED_AT = datetime(2023, 11, 14, 22, 13, 20)  # noqa: DTZ001 - google-auth's clock is naive
SIGNED = (
    "eyJ0eXAiOiAiSldUIiwgImFsZyI6ICJSUzI1NiIsICJraWQiOiAia2lkLTEifQ."
    "eyJpYXQiOiAxNzAwMDAwMDAwLCAiZXhwIjogMTcwMDAwMzYwMCwgImlzcyI6ICJyZWxheUBkZW1vLXByb2plY3QuaWFtL"
    "mdzZXJ2aWNlYWNjb3VudC5jb20iLCAiYXVkIjogImh0dHBzOi8vb2F1dGgyLmdvb2dsZWFwaXMuY29tL3Rva2VuIiwgIn"
    "Njb3BlIjogImh0dHBzOi8vd3d3Lmdvb2dsZWFwaXMuY29tL2F1dGgvZmlyZWJhc2UubWVzc2FnaW5nIn0"
)

pytestmark = pytest.mark.usefixtures("token_store")


class Settings(BaseModel):
    key: ServiceAccountKey


@pytest.fixture
def make_source(provider, client) -> Callable[[], TokenSource]:
    def make() -> TokenSource:
        key = SecretStr(key_file(token_uri=f"{provider.url}/token"))
        return service_account(key, [SCOPE], client, timedelta(seconds=1))

    return make


def test_service_account_signs_its_request_for_a_token(make_source, provider, monkeypatch):
    monkeypatch.setattr(google_clock, "utcnow", lambda: ISSUED_AT)
    provider.answer(200, GRANTED)

    assert make_source().get() == "t0ken"

    [received] = provider.received
    assert (received.method, received.path) == ("POST", "/token")
    assert received.headers["Content-Type"] == "application/x-www-form-urlencoded"
    head, assertion, tail = received.body.decode().partition(SIGNED)
    signature, _, rest = tail.partition("&")
    assert (head, assertion) == ("assertion=", SIGNED)
    assert rest == "grant_type=urn%3Aietf%3Aparams%3Aoauth%3Agrant-type%3Ajwt-bearer"
    verify(SIGNED + signature, private_key().public_key())


def test_lifetime_that_google_auth_cannot_read_is_replaced_by_a_default(make_source, provider):
    for lifetime in (b"3600", b'"soon"', b"1e400", b"[]", b"59.5"):
        provider.answer(200, b'{"access_token": "t0ken", "expires_in": ' + lifetime + b"}")
        assert make_source().get() == "t0ken", lifetime


def test_failed_request_is_classified_and_not_repeated(make_source, provider):
    rows: list[tuple[int, dict[str, str], type[Unavailable | Misconfigured], str]] = [
        (400, {"error": "invalid_grant"}, Misconfigured, "invalid_grant"),
        (400, {"error": "internal_failure"}, Unavailable, "internal_failure"),
        (503, {}, Unavailable, "503"),
        (200, {}, Misconfigured, "no_token"),
    ]
    failures = []
    for status, fields, outcome, code in rows:
        provider.received.clear()
        provider.answer(status, json.dumps(fields).encode())
        with pytest.raises((Unavailable, Misconfigured)) as raised:
            make_source().get()
        requests = len(provider.received)
        if (type(raised.value), raised.value.code, requests) != (outcome, code, 1):
            failures.append((status, fields, raised.value, requests))
    assert not failures


def test_endpoint_without_a_response_is_unavailable(make_source, provider):
    provider.hang()

    with pytest.raises(Unavailable):
        make_source().get()


def test_key_is_given_as_text_or_as_a_file(tmp_path: Path):
    file = tmp_path / "key.json"
    file.write_text(key_file())

    from_file, from_text = Settings(key=str(file)), Settings(key=key_file())
    assert from_file.key.get_secret_value() == from_text.key.get_secret_value() == key_file()
    assert "PRIVATE" not in repr(from_file)


def test_invalid_key_is_rejected_without_quoting_it():
    keys = [
        "",
        "/no/such/file",
        "{",
        "{}",
        '{"s3cret": 1}',
        key_file(private_key="s3cret"),
        key_file(universe_domain="s3cret"),
        key_file(token_uri="ftp://s3cret/"),
        key_file(token_uri="http://s3cret@host/"),
    ]
    for key in keys:
        with pytest.raises(ValidationError) as raised:
            Settings(key=key)
        [error] = raised.value.errors(include_input=False)
        assert error["loc"] == ("key",)
        assert "s3cret" not in error["msg"]
