from pydantic import ValidationError

from connectors.api.settings import ApiSettings

CLIENT = {"token_url": "http://host/token", "client_id": "we", "client_secret": "s3cret"}
SIGNING_SECRET = "whsec_" + "A" * 32


def test_invalid_settings_are_named_without_showing_secrets():
    failures = []
    for settings, texts in [
        ({"headers": {"Authorization": "s3cret"}}, ["headers", "set by the connector itself"]),
        ({"headers": {"webhook-signature": "s3cret"}}, ["headers", "set by the connector itself"]),
        ({"headers": {"X-Key": "s3cret\r\n"}}, ["headers"]),
        ({"header_templates": {"Authorization": "s3cret"}}, ["header_templates"]),
        (
            {"header_templates": {"X-A": ""}, "headers": {"x-a": "s3cret"}},
            ["header_templates: x-a already set in headers"],
        ),
        ({"token": "s3cret", "oauth": CLIENT}, ["token, oauth, service_account: set only one"]),
        ({"oauth": {**CLIENT, "client_secret": ""}}, ["oauth.client_secret"]),
        ({"service_account": {"key": "s3cret", "scopes": ["a"]}}, ["service_account.key"]),
        ({"signing_secrets": ["whsec_s3cret"]}, ["signing_secrets"]),
        ({"path_template": "/{{ s3cret"}, ["path_template", "line 1: unexpected end"]),
        ({"body_template": "a\n{{ text }}"}, ["body_template", "unknown name: text. Use one of:"]),
        ({"body_template": "{{ range(9) }}"}, ["body_template", "unknown name: range"]),
        ({"body_template": "{{ body|upside_down }}"}, ["body_template", "No filter"]),
        ({"body_template": "{% include 'body' %}"}, ["body_template", "cannot use other"]),
        ({"header_templates": {"X-A": "{% if %}"}}, ["header_templates.X-A", "line 1"]),
        ({"success_path": "status"}, ["success_path"]),
        ({"success_value": "ok"}, ["success_value: only allowed with success_path"]),
    ]:
        try:
            ApiSettings(**{"uri": "http://host", **settings})
        except ValidationError as error:
            text = str(error)
        else:
            text = "no error"
        if any(part not in text for part in texts) or "s3cret" in text:
            failures.append((settings, text))
    assert not failures


def test_settings_do_not_reveal_secrets():
    for settings in ({"token": "s3cret"}, {"headers": {"X-Key": "s3cret"}}, {"oauth": CLIENT}):
        assert "s3cret" not in repr(ApiSettings(uri="http://host", **settings))
    assert SIGNING_SECRET not in repr(
        ApiSettings(uri="http://host", signing_secrets=[SIGNING_SECRET])
    )
