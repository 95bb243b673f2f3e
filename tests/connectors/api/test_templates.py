"""What is sent where templates of the settings make it."""

import json

import pytest

from connectors.base import Rejected

METADATA = {"order": {"no": 7}, "lines": ["a", "b"], "items": "not a method"}


@pytest.mark.parametrize(
    ("template", "made"),
    [
        ("{{ recipient }}", "+12015550123"),
        ("{{ uid }} {{ channel }} {{ body }}", "018f-uid-1 sms Your <code> & more"),
        ('{"text": {{ body|tojson }}}', '{"text": "Your <code> & more"}'),
        ("{{ payload|tojson }}", '{"a": [1, null]}'),
        ("[{{ subject }}]{{ subject|tojson }}", "[]null"),
        (
            "{{ metadata.order.no }} {{ metadata['items'] }} {{ metadata.items }}",
            "7 not a method not a method",
        ),
        ("{% for l in metadata.lines %}{{ l }}{{ ',' if not loop.last }}{% endfor %}", "a,b"),
        ("{% if sender %}from {{ sender }}{% else %}from us{% endif %}", "from us"),
        ("{{ body|e }}", "Your &lt;code&gt; &amp; more"),
    ],
)
def test_the_body_is_what_its_template_makes(make_api, make_call, provider, template, made):
    message = make_call(
        channel="sms",
        recipient="+12015550123",
        body="Your <code> & more",
        metadata=METADATA,
        payload={"a": [1, None]},
    )

    make_api(body_template=template, path_template="/send").send(message)

    [received] = provider.received
    assert (received.path, received.body.decode()) == ("/api/v1/send", made)


NASTY = "a/b?c=1&d=2#e%2F\\@..\r\nё"
QUOTED = "a%2Fb%3Fc%3D1%26d%3D2%23e%252F%5C%40..%0D%0A%D1%91"


@pytest.mark.parametrize(
    ("template", "body", "path"),
    [
        ("/sms?text={{ body|urlencode }}", NASTY, f"/sms?text={QUOTED}"),
        ("sms/{{ uid }}", "", "/sms/018f-uid-1"),
        ("\n  /sms\n", "", "/sms"),
        ("/{{ recipient|urlencode }}/x", "", "/ann%40example.com/x"),
        ("/users/@me/{{ body }}", "a:b", "/users/@me/a:b"),
        ("{{ body }}", "", "/"),
    ],
)
def test_the_path_is_what_its_template_makes(make_api, make_call, provider, template, body, path):
    make_api(path_template=template).send(
        make_call(channel="email", recipient="ann@example.com", body=body)
    )

    assert provider.received[0].path == f"/api/v1{path}"


@pytest.mark.parametrize(
    ("template", "body"),
    [
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
    ],
)
def test_a_path_that_leads_elsewhere_is_refused_and_not_sent(
    make_api, make_call, provider, template, body
):
    with pytest.raises(Rejected, match="template: path_template: makes no path below") as raised:
        make_api(path_template=template).send(make_call(body=body))

    assert provider.received == []
    assert "other" not in str(raised.value)


def test_headers_are_what_their_templates_make(make_api, make_call, provider):
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


@pytest.mark.parametrize("value", ["a\r\nX-More: 1", "a\nb", "ё", "a\x00"])
def test_a_template_makes_one_header_line_or_none(make_api, make_call, provider, value):
    api = make_api(header_templates={"X-Order": "{{ metadata.order }}"})

    with pytest.raises(Rejected, match=r"template: header_templates\.X-Order: makes no value"):
        api.send(make_call(metadata={"order": value}))
    assert provider.received == []


def test_a_message_may_not_replace_a_header_of_a_template(make_api, make_call, provider):
    with pytest.raises(Rejected, match="header_not_allowed"):
        make_api(header_templates={"X-Order": "7"}).send(make_call(headers={"x-order": "8"}))
    assert provider.received == []


@pytest.mark.parametrize(
    ("template", "why"),
    [
        ("{{ metadata.order }}", "the message has no order"),
        ("{{ metadata.order|tojson }}", "the message has no order"),
        ("{{ metadata.order.no }}", "the message has no order"),
        ("{{ subject.order }}", "the message has no order"),
        ("{{ metadata[body] }}", "a value is missing"),
        ("{{ metadata.items }}", "SecurityError"),
        ("{{ body.upper() }}", "SecurityError"),
        ("{{ body.__class__ }}", "SecurityError"),
        ("{{ body|attr('__class__') }}", "SecurityError"),
        ("{{ self.__init__.__globals__ }}", "SecurityError"),
        ("{{ 1 / metadata|length }}", "ZeroDivisionError"),
        ("{{ body + 1 }}", "TypeError"),
        ("{% for a in headers %}{{ body * 999 }}{% endfor %}", "longer than 1000000 characters"),
        ("{{ payload }}", "UnicodeEncodeError"),
    ],
)
def test_a_template_that_fails_refuses_its_message_alone(
    make_api, make_call, provider, template, why
):
    message = make_call(
        body="s3cret", payload="\ud800", headers={f"X-{number}": "" for number in range(200)}
    )

    with pytest.raises(Rejected) as raised:
        make_api(body_template=template).send(message)

    assert (raised.value.code, raised.value.detail) == ("template", f"body_template: {why}")
    assert provider.received == []


def test_a_template_leaves_the_message_as_it_is(make_api, make_call):
    metadata = {"lines": ["a"], "order": {"no": 7}}
    message = make_call(metadata=metadata)
    template = (
        "{% set order = metadata.order %}{% for line in metadata.lines %}{% set order = 1 %}"
        "{% endfor %}{{ metadata.lines|map('upper')|list|tojson }}"
    )

    make_api(body_template=template).send(message)

    assert json.dumps(metadata) == '{"lines": ["a"], "order": {"no": 7}}'
