import json
from datetime import timedelta

import pytest
from pydantic import ValidationError

from connectors.base import Misconfigured, Rejected, Unavailable, Uncertain
from connectors.fcm.connector import FcmSettings
from tests.doubles.fcm import PROJECT
from tests.doubles.service_accounts import key_file

DEVICE = "dXJ3WzVfRk2k:APA91bHun4MxP5egoKMwt2KZFBaFUH-1RYqx"
SENT = b'{"name": "projects/demo/messages/0:1500415314455276%31bd1c9631bd1c96"}'


@pytest.mark.parametrize(
    ("fields", "message"),
    [
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
    ],
)
def test_a_message_goes_out_as_fcm_wants_it(sandboxed, make_push, sandbox, fields, message):
    accepted = sandboxed.send(make_push(**fields))

    [record] = sandbox.received(kind="fcm")
    assert record["message"] == message
    name = f"projects/{PROJECT}/messages/{record['message_id']}"
    assert (accepted.provider_message_id, accepted.code) == (name, "200")


def test_a_payload_can_ask_for_a_trial(sandboxed, make_push, sandbox):
    payload = {"validate_only": True, "message": {"notification": {"title": "t"}}}

    accepted = sandboxed.send(make_push(payload=payload))

    assert accepted.provider_message_id == f"projects/{PROJECT}/messages/fake_message_id"
    assert sandbox.received() == []


def test_a_payload_is_sent_as_it_is(fcm, make_push, provider):
    payload = {"message": {"token": "a", "future_field": [1, {"x": None}]}, "future": "y"}

    fcm.send(make_push(payload=payload))

    sent = provider.received[-1]
    assert (sent.method, sent.path) == ("POST", "/v1/projects/demo-project/messages:send")
    assert sent.headers["Authorization"] == "Bearer t0ken-1"
    assert sent.headers["Content-Type"] == "application/json"
    assert json.loads(sent.body) == payload


@pytest.mark.parametrize("payload", ["text", 1, ["x"], {"message": "text"}])
def test_a_payload_that_can_be_no_message_is_refused(fcm, make_push, provider, payload):
    with pytest.raises(Rejected, match="payload_not_allowed"):
        fcm.send(make_push(payload=payload))
    assert provider.received == []


def test_all_messages_share_a_token(fcm, make_push, provider):
    for _ in range(3):
        fcm.send(make_push())

    assert [received.path for received in provider.received].count("/token") == 1


def test_a_token_that_is_not_taken_any_more_is_fetched_anew(sandboxed, make_push, sandbox):
    sandboxed.send(make_push())
    sandbox.session.delete(f"{sandbox.http_url}/fcm/token", timeout=30).raise_for_status()
    sandboxed.send(make_push())

    assert len(sandbox.received(kind="fcm")) == 2


def test_a_key_that_google_does_not_know_is_a_misconfiguration(make_sandboxed, make_push, sandbox):
    other = key_file(token_uri=f"{sandbox.http_url}/fcm/token", project_id=PROJECT)

    with pytest.raises(Misconfigured, match=r"invalid_grant.*Invalid JWT Signature"):
        make_sandboxed(key=other).send(make_push())


def test_another_project_than_that_of_the_key_can_be_named(make_sandboxed, make_push):
    with pytest.raises(Misconfigured, match="PERMISSION_DENIED"):
        make_sandboxed(project_id="another").send(make_push())


@pytest.mark.parametrize(
    ("body", "message_id"),
    [
        (SENT, "projects/demo/messages/0:1500415314455276%31bd1c9631bd1c96"),
        (b'{"name": 1}', None),
        (b"{}", None),
        (b"[]", None),
        (b"<html>", None),
        (b'{"name": "%s"}' % (b"x" * 1000), "x" * 255),
    ],
)
def test_a_success_is_one_whatever_it_says(fcm, make_push, answers, body, message_id):
    answers[:] = [(200, body, {})]

    accepted = fcm.send(make_push())

    assert (accepted.provider_message_id, accepted.code) == (message_id, "200")


def test_a_request_without_an_answer_may_have_been_sent(fcm, make_push, provider):
    fcm.send(make_push())
    provider.hang()

    with pytest.raises(Uncertain):
        fcm.send(make_push())


def test_a_token_endpoint_without_an_answer_leaves_the_message_unsent(fcm, make_push, provider):
    provider.hang()

    with pytest.raises(Unavailable):
        fcm.send(make_push())


@pytest.mark.parametrize(
    ("fields", "limit"),
    [
        ({}, 4096),
        ({"recipient": "topic:news"}, 2048),
        ({"recipient": "condition:'news' in topics"}, 2048),
    ],
)
@pytest.mark.parametrize("letter", ["x", "ё", "🙂", '"'])
def test_what_is_larger_than_fcm_carries_is_not_sent(
    fcm, make_push, provider, fields, limit, letter
):
    frame = len('{"notification":{"body":""}}')
    size_of_letter = len(json.dumps(letter, ensure_ascii=False).encode()) - 2
    fitting = (limit - frame) // size_of_letter

    fcm.send(make_push(body=letter * fitting, **fields))
    sent = len(provider.received)
    with pytest.raises(Rejected, match=f"message_too_large: .* of {limit} bytes"):
        fcm.send(make_push(body=letter * (fitting + 1), **fields))
    assert len(provider.received) == sent


@pytest.mark.parametrize(
    ("payload", "fits"),
    [
        ({"data": {"k": "x" * 2000}, "notification": {"body": "x" * 2000}}, True),
        ({"data": {"k": "x" * 2100}, "notification": {"body": "x" * 2100}}, False),
        ({"data": {"k": "x" * 2100}, "android": {"data": {"k": "x" * 2100}}}, False),
        # No device is sent what is for those of another platform.
        ({"android": {"data": {"k": "x" * 3000}}, "apns": {"payload": {"k": "x" * 3000}}}, True),
        ({"webpush": {"data": {"k": "x" * 4096}}}, False),
        ({"token": "x" * 4096}, True),
    ],
)
def test_the_size_is_that_of_what_one_device_is_sent(fcm, make_push, provider, payload, fits):
    if fits:
        fcm.send(make_push(payload=payload))
    else:
        with pytest.raises(Rejected, match="message_too_large"):
            fcm.send(make_push(payload=payload))

    assert bool(provider.received) == fits


def test_a_send_may_take_two_requests_and_two_tokens(make_fcm):
    fcm = make_fcm("http://127.0.0.1:1", key_file(), total_timeout_seconds=10)

    # Each token may mean waiting for another process's request, and then one's own.
    assert fcm.deadline > timedelta(seconds=6 * 10)


@pytest.mark.parametrize(
    ("settings", "key"),
    [
        ({"service_account": key_file(project_id="")}, "project_id"),
        ({"service_account": "{}"}, "service_account"),
        ({"service_account": None}, "service_account"),
        ({"service_account": key_file(), "base_url": "fcm.test"}, "base_url"),
        ({"service_account": key_file(), "project_id": ""}, "project_id"),
    ],
)
def test_bad_settings_are_refused_by_name_without_showing_the_key(settings, key):
    with pytest.raises(ValidationError, match=key) as raised:
        FcmSettings(**settings)

    assert "PRIVATE" not in str(raised.value)


def test_the_key_is_not_shown_with_the_settings():
    assert "PRIVATE" not in repr(FcmSettings(service_account=key_file()))
