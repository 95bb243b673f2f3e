import json

from tests.connectors.sending import outcome


def test_body_template_makes_the_body(make_api, make_call, provider):
    message = make_call(
        channel="sms",
        recipient="+12015550123",
        body="Your <code> & more",
        metadata={"order": {"no": 7}, "lines": ["a", "b"], "items": "not a method"},
        payload={"a": [1, None]},
    )
    failures = []
    for template, body in [
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
    ]:
        make_api(body_template=template, path_template="/send").send(message)
        received = provider.received[-1]
        if (received.path, received.body.decode()) != ("/api/v1/send", body):
            failures.append((template, received))
    assert not failures


def test_template_that_cannot_be_rendered_rejects_only_that_message(make_api, make_call, provider):
    message = make_call(
        body="s3cret", payload="\ud800", headers={f"X-{number}": "" for number in range(200)}
    )
    failures = []
    for template, reason in [
        ("{{ metadata.order }}", "the message has no order"),
        ("{{ metadata.order|tojson }}", "the message has no order"),
        ("{{ metadata.order.no }}", "the message has no order"),
        ("{{ subject.order }}", "the message has no order"),
        ("{{ metadata[body] }}", "the message lacks a value"),
        ("{{ metadata.items }}", "SecurityError"),
        ("{{ body.upper() }}", "SecurityError"),
        ("{{ body.__class__ }}", "SecurityError"),
        ("{{ body|attr('__class__') }}", "SecurityError"),
        ("{{ self.__init__.__globals__ }}", "SecurityError"),
        ("{{ 1 / metadata|length }}", "ZeroDivisionError"),
        ("{{ body + 1 }}", "TypeError"),
        (
            "{% for a in headers %}{{ body * 999 }}{% endfor %}",
            "the result is longer than 1000000 characters",
        ),
        ("{{ payload }}", "UnicodeEncodeError"),
    ]:
        error = outcome(make_api(body_template=template), message)
        if (error.code, error.detail) != ("template", f"body_template: {reason}"):
            failures.append((template, error))
    assert not failures
    assert provider.received == []


def test_template_does_not_change_the_message(make_api, make_call):
    metadata = {"lines": ["a"], "order": {"no": 7}}
    template = (
        "{% set order = metadata.order %}{% for line in metadata.lines %}{% set order = 1 %}"
        "{% endfor %}{{ metadata.lines|map('upper')|list|tojson }}"
    )

    make_api(body_template=template).send(make_call(metadata=metadata))

    assert json.dumps(metadata) == '{"lines": ["a"], "order": {"no": 7}}'
