from connectors.base import Rejected
from tests.connectors.sending import outcome

TOKEN = "t0ken-of-ours"
NASTY = "a/b?c=1&d=2#e%2F\\@..\r\nё"
QUOTED = "a%2Fb%3Fc%3D1%26d%3D2%23e%252F%5C%40..%0D%0A%D1%91"


def test_payload_is_sent_as_json_and_a_body_unchanged(make_api, make_call, provider):
    api = make_api()
    for fields, body in [
        ({"body": "name=ё&raw"}, "name=ё&raw".encode()),
        ({"body": "ignored", "payload": {"to": ["ё"]}}, b'{"to": ["\\u0451"]}'),
        ({"body": "ignored", "payload": []}, b"[]"),
        ({"body": ""}, b""),
    ]:
        api.send(make_call(**fields))
        received = provider.received[-1]
        assert (received.method, received.path) == ("POST", "/api/v1/messages")
        assert received.body == body
        assert received.headers["Content-Type"] == "application/json"
        assert received.headers["Idempotency-Key"] == "018f-uid-1"
        assert received.headers["Authorization"] is None


def test_configured_method_is_used(make_api, make_call, provider):
    for method in ("GET", "PUT"):
        make_api(method=method).send(make_call())
        assert provider.received[-1].method == method


def test_headers_of_the_agent_and_of_the_message_are_sent(make_api, make_call, provider):
    api = make_api(headers={"X-Api-Key": "s3cret"}, content_type="text/xml; charset=utf-8")

    api.send(make_call(headers={"X-Trace": "7"}))
    api.send(make_call(headers={"content-type": "text/csv"}))

    first, second = (received.headers for received in provider.received)
    assert (first["X-Api-Key"], first["X-Trace"]) == ("s3cret", "7")
    assert first.get_all("Content-Type") == ["text/xml; charset=utf-8"]
    assert second.get_all("Content-Type") == ["text/csv"]


def test_message_cannot_set_headers_of_the_agent(make_api, make_call, provider):
    api = make_api(
        headers={"X-Api-Key": "s3cret"},
        header_templates={"X-Order": "7"},
        token=TOKEN,
        signing_secrets=["whsec_" + "A" * 32],
    )
    failures = []
    for name, value in [
        ("Authorization", "Bearer theirs"),
        ("AUTHORIZATION", "Bearer theirs"),
        ("Proxy-Authorization", "Basic theirs"),
        ("Host", "other.test"),
        ("content-length", "0"),
        ("idempotency-key", "theirs"),
        ("Transfer-Encoding", "chunked"),
        ("x-api-key", "theirs"),
        ("x-order", "theirs"),
        ("webhook-id", "theirs"),
        ("Webhook-Timestamp", "theirs"),
        ("WEBHOOK-SIGNATURE", "theirs"),
        ("X-Trace", "two\r\nX-More: lines"),
        ("X-Trace", "ё"),
        ("X Trace", "a"),
        ("X-Trace:", "a"),
        ("", "a"),
    ]:
        error = outcome(api, make_call(headers={name: value}))
        if error.code != "header_not_allowed" or "theirs" in str(error):
            failures.append((name, value, error))
    assert not failures
    assert provider.received == []


def test_recipient_is_a_path_below_the_base_url(make_api, make_call, provider):
    api = make_api(uri=f"{provider.url}/api/v1/")
    failures = []
    for channel, recipient, path in [
        ("http", "messages", "/api/v1/messages"),
        ("http", "/kkt/receipt?id=1&x=a:b", "/api/v1/kkt/receipt?id=1&x=a:b"),
        ("http", "/v1/name:send", "/api/v1/v1/name:send"),
        ("http", "/a..b/.well-known", "/api/v1/a..b/.well-known"),
        ("http", "/дом", "/api/v1/%D0%B4%D0%BE%D0%BC"),
        ("http", "/a%2Fb%20c", "/api/v1/a%2Fb%20c"),
        ("http", "/a//b", "/api/v1/a//b"),
        ("http", "/a;x=1/100%25/%2525", "/api/v1/a;x=1/100%25/%2525"),
        ("sms", "+12015550123", "/api/v1/+12015550123"),
        ("email", "a+b/../c@example.com", "/api/v1/a%2Bb%2F..%2Fc%40example.com"),
    ]:
        api.send(make_call(channel=channel, recipient=recipient))
        if provider.received[-1].path != path:
            failures.append((recipient, provider.received[-1].path))
    assert not failures


def test_recipient_outside_the_base_url_is_rejected_without_being_sent(
    make_api, make_call, provider
):
    api = make_api()
    failures = []
    for recipient in [
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
        "/..;/admin",
        "/a/..;x=1/admin",
        "/%2e%2e%3b/admin",
        "/%252e%252e/admin",
        "/%25252e%25252e%25252fadmin",
        "/%c0%ae%c0%ae/admin",
        "/a%ff",
        "/x%2540other.test",
        "/a%255Cb",
        "/a\r\nX-More: 1",
        "/a%0d%0aX-More:%201",
        "/a\x00",
        "/a\tb",
        "/a#b",
    ]:
        error = outcome(api, make_call(recipient=recipient))
        if error.code != "path_not_allowed" or "other.test" in str(error):
            failures.append((recipient, error))
    assert not failures
    assert provider.received == []


def test_path_template_makes_the_path(make_api, make_call, provider):
    failures = []
    for template, body, path in [
        ("/sms?text={{ body|urlencode }}", NASTY, f"/sms?text={QUOTED}"),
        ("sms/{{ uid }}", "", "/sms/018f-uid-1"),
        ("\n  /sms\n", "", "/sms"),
        ("/{{ recipient|urlencode }}/x", "", "/ann%40example.com/x"),
        ("/users/@me/{{ body }}", "a:b", "/users/@me/a:b"),
        ("{{ body }}", "", "/"),
    ]:
        make_api(path_template=template).send(
            make_call(channel="email", recipient="ann@example.com", body=body)
        )
        if provider.received[-1].path != f"/api/v1{path}":
            failures.append((template, provider.received[-1].path))
    assert not failures


def test_rendered_path_outside_the_base_url_is_rejected_without_being_sent(
    make_api, make_call, provider
):
    failures = []
    for template, body in [
        ("{{ body }}", "//other.test/x"),
        ("{{ body }}", "https://other.test/x"),
        ("{{ body }}", "https:other.test"),
        ("/{{ body }}", "/other.test"),
        ("/a/{{ body }}", ".."),
        ("/a/{{ body }}/b", "../../.."),
        ("/a/{{ body }}", "%2e%2E/b"),
        ("/a/{{ body|urlencode }}", "../b"),
        ("/a{{ body }}", "\\..\\b"),
        ("/a{{ body|urlencode }}", "\\b"),
        ("/a{{ body|urlencode }}", "b\r\nX-More: 1"),
        ("/a{{ body }}", "b\r\nX-More: 1"),
        ("/a?b={{ body }}", "c\r\nX-More: 1"),
        ("/a?b={{ body }}", "c#d"),
        ("/a{{ body }}", "\x00"),
    ]:
        error = outcome(make_api(path_template=template), make_call(body=body))
        if str(error) != "template: path_template: the result is not a path below uri":
            failures.append((template, body, error))
    assert not failures
    assert provider.received == []


def test_header_templates_make_headers(make_api, make_call, provider):
    api = make_api(
        header_templates={
            "X-To": " {{ recipient }}\n",
            "Idempotency-Key": "{{ uid }}-{{ metadata.no }}",
            "Content-Type": "text/plain; x={{ metadata.no }}",
        }
    )

    api.send(make_call(metadata={"no": 7}, headers={"X-Trace": "1"}))

    headers = provider.received[0].headers
    assert headers.get_all("X-To") == ["/messages"]
    assert headers.get_all("Idempotency-Key") == ["018f-uid-1-7"]
    assert headers.get_all("Content-Type") == ["text/plain; x=7"]
    assert headers["X-Trace"] == "1"


def test_rendered_header_that_is_not_one_valid_line_is_rejected(make_api, make_call, provider):
    api = make_api(header_templates={"X-Order": "{{ metadata.order }}"})
    for value in ("a\r\nX-More: 1", "a\nb", "ё", "a\x00"):
        error = outcome(api, make_call(metadata={"order": value}))
        assert isinstance(error, Rejected)
        assert error.detail == "header_templates.X-Order: the result is not a valid header value"
    assert provider.received == []
