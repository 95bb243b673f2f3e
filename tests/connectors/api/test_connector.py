import json

import pytest
from pydantic import ValidationError

from connectors.api.settings import ApiSettings
from connectors.base import Misconfigured, Rejected, Reply, Unavailable, Uncertain

TOKEN = "t0ken-of-ours"
CLIENT = {"token_url": "http://host/token", "client_id": "we", "client_secret": "s3cret"}


@pytest.mark.parametrize(
    ("fields", "body"),
    [
        ({"body": "name=ё&raw"}, "name=ё&raw".encode()),
        ({"body": "ignored", "payload": {"to": ["ё"]}}, b'{"to": ["\\u0451"]}'),
        ({"body": "ignored", "payload": []}, b"[]"),
        ({"body": ""}, b""),
    ],
)
def test_the_payload_goes_out_as_json_or_the_body_as_it_is(
    make_api, make_call, provider, fields, body
):
    make_api().send(make_call(**fields))

    [received] = provider.received
    assert (received.method, received.path, received.body) == ("POST", "/api/v1/messages", body)
    assert received.headers["Content-Type"] == "application/json"
    assert received.headers["Idempotency-Key"] == "018f-uid-1"
    assert received.headers["Authorization"] is None


@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "PATCH", "DELETE"])
def test_the_configured_method_is_used(make_api, make_call, provider, method):
    make_api(method=method).send(make_call())

    assert provider.received[0].method == method


@pytest.mark.parametrize(
    ("settings", "authorization"),
    [
        ({"token": TOKEN}, f"Bearer {TOKEN}"),
        ({"token": "dTpw", "auth_scheme": "Basic"}, "Basic dTpw"),
        ({"token": ""}, None),
    ],
)
def test_the_token_goes_into_authorization_as_it_is(
    make_api, make_call, provider, settings, authorization
):
    make_api(**settings).send(make_call())

    assert provider.received[0].headers["Authorization"] == authorization


def test_headers_of_the_agent_and_of_the_message_are_sent(make_api, make_call, provider):
    api = make_api(headers={"X-Api-Key": "s3cret"}, content_type="text/xml; charset=utf-8")

    api.send(make_call(headers={"X-Trace": "7"}))
    api.send(make_call(headers={"content-type": "text/csv"}))

    first, second = (received.headers for received in provider.received)
    assert (first["X-Api-Key"], first["X-Trace"]) == ("s3cret", "7")
    assert first.get_all("Content-Type") == ["text/xml; charset=utf-8"]
    assert second.get_all("Content-Type") == ["text/csv"]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("Authorization", "Bearer theirs"),
        ("AUTHORIZATION", "Bearer theirs"),
        ("Proxy-Authorization", "Basic theirs"),
        ("Host", "other.test"),
        ("content-length", "0"),
        ("Transfer-Encoding", "chunked"),
        ("x-api-key", "theirs"),
        ("X-Trace", "two\r\nX-More: lines"),
        ("X-Trace", "ё"),
        ("X Trace", "a"),
        ("X-Trace:", "a"),
        ("", "a"),
    ],
)
def test_a_message_may_not_speak_for_the_agent(make_api, make_call, provider, name, value):
    api = make_api(headers={"X-Api-Key": "s3cret"}, token=TOKEN)

    with pytest.raises(Rejected, match="header_not_allowed") as raised:
        api.send(make_call(headers={name: value}))

    assert provider.received == []
    assert "theirs" not in str(raised.value)


@pytest.mark.parametrize(
    ("channel", "recipient", "path"),
    [
        ("http", "messages", "/api/v1/messages"),
        ("http", "/kkt/receipt?id=1&x=a:b", "/api/v1/kkt/receipt?id=1&x=a:b"),
        ("http", "/v1/name:send", "/api/v1/v1/name:send"),
        ("http", "/a..b/.well-known", "/api/v1/a..b/.well-known"),
        ("http", "/дом", "/api/v1/%D0%B4%D0%BE%D0%BC"),
        ("http", "/a%2Fb%20c", "/api/v1/a%2Fb%20c"),
        ("http", "/a//b", "/api/v1/a//b"),
        ("sms", "+12015550123", "/api/v1/+12015550123"),
        ("email", "a+b/../c@example.com", "/api/v1/a%2Bb%2F..%2Fc%40example.com"),
    ],
)
def test_the_recipient_is_a_path_below_the_uri(
    make_api, make_call, provider, channel, recipient, path
):
    make_api(uri=f"{provider.url}/api/v1/").send(make_call(channel=channel, recipient=recipient))

    assert provider.received[0].path == path


@pytest.mark.parametrize(
    "recipient",
    [
        "//other.test/x",
        "@other.test/x",
        "/x@other.test",
        "/x%40other.test",
        "http://other.test/",
        "https:other.test",
        "javascript:alert(1)",
        ":8080/",
        "\\\\other.test",
        "/\\other.test",
        "/a%5Cb",
        "..",
        "../admin",
        "/a/../../admin",
        "/a/%2e%2E/admin",
        "/..%2fadmin",
        "/./a",
        "/a\r\nX-More: 1",
        "/a%0d%0aX-More:%201",
        "/a\x00",
        "/a\tb",
        "/a#b",
    ],
)
def test_a_recipient_that_leads_elsewhere_is_refused_and_not_sent(
    make_api, make_call, provider, recipient
):
    with pytest.raises(Rejected, match="path_not_allowed") as raised:
        make_api().send(make_call(recipient=recipient))

    assert provider.received == []
    assert "other.test" not in str(raised.value)


@pytest.mark.parametrize(
    ("status", "body", "headers", "reply"),
    [
        (
            200,
            b'{"id": 7}',
            {"Content_Type": "application/json"},
            Reply('{"id": 7}', "application/json", 200),
        ),
        (201, b"created", {}, Reply("created", None, 201)),
        (204, b"", {}, Reply("", None, 204)),
        (299, b"a\x00\xff", {}, Reply("a\ufffd\ufffd", None, 299)),
        (200, b"x" * 101, {}, Reply("x" * 100, None, 200)),
    ],
)
def test_any_2xx_is_accepted_and_its_reply_kept(
    make_api, make_call, provider, status, body, headers, reply
):
    provider.answer(status, body, **headers)

    accepted = make_api(response_limit_bytes=100).send(make_call())

    assert (accepted.code, accepted.reply) == (str(status), reply)


@pytest.mark.parametrize(
    ("status", "outcome"),
    [
        (301, Rejected),  # the message chose the path: the agent goes on
        (401, Misconfigured),
        (403, Rejected),
        (404, Rejected),
        (422, Rejected),
        (429, Unavailable),
        (500, Unavailable),
    ],
)
def test_any_other_status_is_an_error_that_shows_nothing_of_ours(
    make_api, make_call, provider, status, outcome
):
    content = '{"code": "4711"}'
    echo = f"why {TOKEN} s3cret /messages {content}"
    provider.answer(status, json.dumps({"error": echo}).encode())
    api = make_api(token=TOKEN, headers={"X-Api-Key": "s3cret"})

    with pytest.raises(outcome) as raised:
        api.send(make_call(payload={"code": "4711"}))

    assert raised.value.detail == '{"error": "why *** *** *** ***"}'


def test_an_api_that_takes_a_message_and_says_nothing_leaves_it_uncertain(
    make_api, make_call, provider
):
    provider.hang()

    with pytest.raises(Uncertain):
        make_api().send(make_call())


@pytest.mark.parametrize(
    ("settings", "key"),
    [
        ({"uri": "http://host/?a=1"}, "uri"),
        ({"uri": "host/api"}, "uri"),
        ({"method": "TRACE"}, "method"),
        ({"method": "post"}, "method"),
        ({"headers": {"Authorization": "s3cret"}}, "headers"),
        ({"headers": {"Host": "s3cret"}}, "headers"),
        ({"headers": {"X-Key": "s3cret\r\n"}}, "headers"),
        ({"headers": {"X Key": "s3cret"}}, "headers"),
        ({"auth_scheme": "Bearer s3cret"}, "auth_scheme"),
        ({"token": "s3cret\n"}, "token"),
        ({"content_type": "text/plain\r\nX: 1"}, "content_type"),
        ({"content_type": ""}, "content_type"),
        ({"headers": {"webhook-signature": "s3cret"}}, "headers"),
        ({"header_templates": {"Authorization": "s3cret"}}, "header_templates"),
        ({"header_templates": {"X-A": ""}, "headers": {"x-a": "s3cret"}}, "x-a: in headers"),
        ({"token": "s3cret", "oauth": CLIENT}, "exclude each other"),
        ({"oauth": {**CLIENT, "client_secret": ""}}, "oauth.client_secret"),
        ({"oauth": {"token_url": "http://host/"}}, "oauth.client_id"),
        ({"service_account": {"key": "s3cret", "scopes": ["a"]}}, "service_account.key"),
        ({"service_account": {"key": "s3cret", "scopes": []}}, "service_account.scopes"),
        ({"signing_secrets": ["whsec_s3cret"]}, "signing_secrets"),
        ({"signing_secrets": ["whsec_" + "A" * 32] * 3}, "signing_secrets"),
        ({"path_template": "/{{ s3cret"}, "path_template\n.*line 1: unexpected end"),
        ({"body_template": "a\n{{ text }}"}, "body_template\n.*knows no text; there are: uid,"),
        ({"body_template": "{{ range(9) }}"}, "body_template\n.*knows no range"),
        ({"body_template": "{{ body|upside_down }}"}, "body_template\n.*No filter"),
        ({"body_template": "{% include 'body' %}"}, "body_template\n.*another template"),
        ({"header_templates": {"X-A": "{% if %}"}}, "header_templates.X-A\n.*line 1"),
        ({"success_statuses": []}, "success_statuses"),
        ({"success_statuses": [500]}, "success_statuses"),
        ({"success_path": "status"}, "success_path\n.*is no JSONPath"),
        ({"success_value": "ok"}, "success_value needs success_path"),
        ({"id_path": "$["}, "id_path"),
        ({"retry_after_path": ""}, "retry_after_path"),
    ],
)
def test_bad_settings_are_refused_by_name_without_showing_secrets(settings, key):
    with pytest.raises(ValidationError, match=key) as raised:
        ApiSettings(**{"uri": "http://host", **settings})

    assert "s3cret" not in str(raised.value)


def test_secrets_are_not_shown_with_the_settings(make_api):
    settings = make_api(token=TOKEN, headers={"X-Api-Key": "s3cret"}).settings

    assert TOKEN not in repr(settings)
    assert "s3cret" not in repr(settings)
