import pytest
import requests

from sandbox.client import running_sandbox


def test_message_is_accepted_and_recorded(sandbox, post):
    response = post("+12025550123", "Grüße 🙂", key="k-1")

    assert response.status_code == 202
    assert response.json()["message"] == "Accepted"
    [record] = sandbox.received(kind="gateway")
    assert record["message_id"] == response.json()["messageId"]
    assert (record["to"], record["content"]) == ("+12025550123", "Grüße 🙂")
    assert (record["key"], record["copy"], record["outcome"]) == ("k-1", 1, "accepted")
    assert record["received_at"].endswith("+00:00")


def test_invalid_messages_are_refused(sandbox):
    as_json = {"Content-Type": "application/json"}
    failures = []
    for arguments, status, error in [
        ({"data": "to=1", "headers": {"Content-Type": "text/plain"}}, 415, "application/json"),
        ({"data": "{", "headers": as_json}, 400, "not valid JSON"),
        ({"data": "[" * 9999, "headers": as_json}, 400, "not valid JSON"),
        ({"json": ["to"]}, 400, "object"),
        ({"json": {"content": "Hello"}}, 400, "to:"),
        ({"json": {"to": "", "content": "Hello"}}, 400, "to:"),
        ({"json": {"to": 12025550123, "content": "Hello"}}, 400, "to:"),
        ({"json": {"to": "+12025550123"}}, 400, "content:"),
    ]:
        response = sandbox.session.post(sandbox.gateway_url, timeout=30, **arguments)
        if response.status_code != status or error not in response.json()["error"]:
            failures.append((arguments, response.status_code, response.text))

    assert not failures
    assert sandbox.received(outcome="*") == []


def test_api_key_is_required_if_one_is_set(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("POSTROOM_SANDBOX_KEY", "open sesame")
    failures = []
    with running_sandbox() as sandbox:
        for headers, status in [
            ({"x-ins-auth-key": "open sesame"}, 202),
            ({"api-key": "open sesame"}, 202),
            ({"api-key": "open"}, 401),
            ({"x-ins-auth-key": "schlüssel".encode()}, 401),
            ({}, 401),
        ]:
            message = {"to": "+12025550123", "content": "Hello"}
            url = sandbox.gateway_url
            response = requests.post(url, json=message, headers=headers, timeout=30)
            if response.status_code != status:
                failures.append((headers, response.status_code))

    assert not failures
