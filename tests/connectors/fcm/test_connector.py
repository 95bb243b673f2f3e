import json
from datetime import timedelta

from connectors.base import Misconfigured, Rejected, Unavailable, Uncertain
from tests.connectors.fcm.conftest import DEVICE, SENT
from tests.connectors.sending import outcome
from tests.doubles.fcm import PROJECT
from tests.doubles.service_accounts import key_file


def test_message_is_sent_as_fcm_expects_it(sandboxed, make_push, sandbox):
    failures = []
    for fields, message in [
        (
            {"subject": "Sale", "body": "Only today ё"},
            {"token": DEVICE, "notification": {"title": "Sale", "body": "Only today ё"}},
        ),
        ({"body": "Hello"}, {"token": DEVICE, "notification": {"body": "Hello"}}),
        (
            {"body": "", "metadata": {"order": 7, "paid": True, "tags": ["a", "ё"], "note": "x"}},
            {
                "token": DEVICE,
                "data": {"order": "7", "paid": "true", "tags": '["a","ё"]', "note": "x"},
            },
        ),
        (
            {"recipient": "topic:news", "body": "b"},
            {"topic": "news", "notification": {"body": "b"}},
        ),
        (
            {"recipient": "condition:'a' in topics && 'b' in topics", "body": "b"},
            {"condition": "'a' in topics && 'b' in topics", "notification": {"body": "b"}},
        ),
        (
            {"payload": {"message": {"data": {"k": "v"}, "android": {"priority": "HIGH"}}}},
            {"token": DEVICE, "data": {"k": "v"}, "android": {"priority": "HIGH"}},
        ),
        (
            {"payload": {"notification": {"title": "t"}}, "metadata": {"k": "v"}},
            {"token": DEVICE, "notification": {"title": "t"}},
        ),
        (
            {"payload": {"message": {"token": "another-device"}}, "recipient": "user 7"},
            {"token": "another-device"},
        ),
        ({"payload": {"topic": "news"}, "recipient": "all"}, {"topic": "news"}),
    ]:
        accepted = sandboxed.send(make_push(**fields))
        record = sandbox.received(kind="fcm")[-1]
        name = f"projects/{PROJECT}/messages/{record['message_id']}"
        found = (record["message"], accepted.provider_message_id, accepted.code)
        if found != (message, name, "200"):
            failures.append((fields, found))
    assert not failures


def test_payload_can_ask_for_validation_only(sandboxed, make_push, sandbox):
    payload = {"validate_only": True, "message": {"notification": {"title": "t"}}}

    accepted = sandboxed.send(make_push(payload=payload))

    assert accepted.provider_message_id == f"projects/{PROJECT}/messages/fake_message_id"
    assert sandbox.received() == []


def test_payload_is_sent_unchanged(fcm, make_push, provider):
    payload = {"message": {"token": "a", "future_field": [1, {"x": None}]}, "future": "y"}

    fcm.send(make_push(payload=payload))

    sent = provider.received[-1]
    assert (sent.method, sent.path) == ("POST", "/v1/projects/demo-project/messages:send")
    assert sent.headers["Authorization"] == "Bearer t0ken-1"
    assert sent.headers["Content-Type"] == "application/json"
    assert json.loads(sent.body) == payload


def test_payload_that_is_not_a_message_is_rejected_without_being_sent(fcm, make_push, provider):
    for payload in ("text", 1, ["x"], {"message": "text"}):
        error = outcome(fcm, make_push(payload=payload))
        assert isinstance(error, Rejected)
        assert error.code == "payload_not_allowed"
    assert provider.received == []


def test_access_token_is_shared_by_all_messages(fcm, make_push, provider):
    for _ in range(3):
        fcm.send(make_push())

    assert [received.path for received in provider.received].count("/token") == 1


def test_revoked_access_token_is_replaced(sandboxed, make_push, sandbox):
    sandboxed.send(make_push())
    sandbox.session.delete(f"{sandbox.http_url}/fcm/token", timeout=30).raise_for_status()
    sandboxed.send(make_push())

    assert len(sandbox.received(kind="fcm")) == 2


def test_wrong_key_or_project_is_misconfigured(make_sandboxed, make_push, sandbox):
    other_key = key_file(token_uri=f"{sandbox.http_url}/fcm/token", project_id=PROJECT)

    error = outcome(make_sandboxed(key=other_key), make_push())
    assert isinstance(error, Misconfigured)
    assert error.code == "invalid_grant"
    assert "Invalid JWT Signature" in error.detail

    error = outcome(make_sandboxed(project_id="another"), make_push())
    assert isinstance(error, Misconfigured)
    assert error.code == "PERMISSION_DENIED"


def test_success_without_a_usable_name_is_still_a_success(fcm, make_push, answers):
    for body, message_id in [
        (SENT, "projects/demo/messages/0:1500415314455276%31bd1c9631bd1c96"),
        (b'{"name": null}', None),
        (b"{}", None),
        (b"[]", None),
        (b"<html>", None),
        (b'{"name": "%s"}' % (b"x" * 1000), "x" * 255),
    ]:
        answers[:] = [(200, body, {})]
        accepted = fcm.send(make_push())
        assert (accepted.provider_message_id, accepted.code) == (message_id, "200"), body


def test_missing_response_is_uncertain(fcm, make_push, provider):
    fcm.send(make_push())
    provider.hang()

    assert isinstance(outcome(fcm, make_push()), Uncertain)


def test_missing_response_of_the_token_endpoint_is_unavailable(fcm, make_push, provider):
    provider.hang()

    assert isinstance(outcome(fcm, make_push()), Unavailable)


def test_message_above_the_size_limit_is_not_sent(fcm, make_push, provider):
    overhead = len('{"notification":{"body":""}}')
    failures = []
    for recipient, limit in [
        (DEVICE, 4096),
        ("topic:news", 2048),
        ("condition:'news' in topics", 2048),
    ]:
        for character in ("x", "ё", "🙂", '"'):
            size = len(json.dumps(character, ensure_ascii=False).encode()) - 2
            count = (limit - overhead) // size
            fcm.send(make_push(recipient=recipient, body=character * count))
            sent = len(provider.received)
            error = outcome(fcm, make_push(recipient=recipient, body=character * (count + 1)))
            if "message_too_large" not in str(error) or f"limit is {limit}" not in str(error):
                failures.append((recipient, character, error))
            if len(provider.received) != sent:
                failures.append((recipient, character, "was sent"))
    assert not failures


def test_size_is_that_of_the_parts_that_one_device_receives(fcm, make_push, provider):
    for payload, fits in [
        ({"data": {"k": "x" * 2000}, "notification": {"body": "x" * 2000}}, True),
        ({"data": {"k": "x" * 2100}, "notification": {"body": "x" * 2100}}, False),
        ({"data": {"k": "x" * 2100}, "android": {"data": {"k": "x" * 2100}}}, False),
        ({"android": {"data": {"k": "x" * 3000}}, "apns": {"payload": {"k": "x" * 3000}}}, True),
        ({"webpush": {"data": {"k": "x" * 4096}}}, False),
        ({"token": "x" * 4096}, True),
    ]:
        result = outcome(fcm, make_push(payload=payload))
        assert (result.code == "200") == fits, payload
    assert [received.path for received in provider.received].count("/token") == 1
    assert len(provider.received) == 4


def test_deadline_allows_for_two_requests_and_two_tokens(make_fcm):
    fcm = make_fcm("http://127.0.0.1:1", key_file(), total_timeout_seconds=10)

    # Fetching a token can mean waiting for another process's request, then for one's own.
    assert fcm.send_timeout > timedelta(seconds=6 * 10)
