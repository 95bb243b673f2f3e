"""What a reply means where the settings say how to read it."""

import json
from datetime import timedelta

import pytest

from connectors.base import Accepted, Rejected, Unavailable, Uncertain


@pytest.mark.parametrize(
    ("statuses", "status", "success"),
    [
        ([200, 409], 200, True),
        ([200, 409], 409, True),
        ([200, 409], 201, False),
        ([304], 304, True),
        (None, 299, True),
        (None, 409, False),
    ],
)
def test_the_statuses_of_the_settings_are_successes(
    make_api, make_call, provider, statuses, status, success
):
    provider.answer(status)
    api = make_api(success_statuses=statuses)

    if success:
        assert api.send(make_call()).code == str(status)
    else:
        with pytest.raises(Rejected, match=str(status)):
            api.send(make_call())


@pytest.mark.parametrize(
    ("path", "value", "reply", "success"),
    [
        ("$.status", "ok", {"status": "ok"}, True),
        ("$.status", "ok", {"status": "OK"}, False),
        ("$.status", "ok", {"status": ["ok"]}, False),
        ("$.status", "ok", {"error": 1}, False),
        ("$.status", "ok", ["ok"], False),
        ("$.code", 0, {"code": 0}, True),
        ("$.code", 0, {"code": 0.0}, True),
        ("$.code", 0, {"code": False}, False),
        ("$.code", 0, {"code": "0"}, False),
        ("$.ok", True, {"ok": True}, True),
        ("$.ok", True, {"ok": 1}, False),
        ("$.results[*].code", 0, {"results": [{"code": 5}, {"code": 0}]}, True),
        ("$.results[?@.code == 0]", None, {"results": [{"code": 0}]}, True),
        ("$.results[?@.code == 0]", None, {"results": [{"code": 5}]}, False),
        ("$.id", None, {"id": None}, True),
    ],
)
def test_a_success_holds_what_the_settings_name(
    make_api, make_call, provider, path, value, reply, success
):
    provider.answer(200, json.dumps(reply).encode())
    api = make_api(success_path=path, success_value=value)

    if success:
        assert api.send(make_call()).code == "200"
    else:
        with pytest.raises(Rejected) as raised:
            api.send(make_call())
        assert (raised.value.code, raised.value.detail) == ("200", json.dumps(reply))


@pytest.mark.parametrize("reply", [b"", b"ok", b'{"status": "o', b"[" * 100_000])
def test_a_reply_that_cannot_be_read_leaves_open_whether_it_is_a_success(
    make_api, make_call, provider, reply
):
    provider.answer(200, reply)

    with pytest.raises(Uncertain, match="illegible_reply"):
        make_api(success_path="$.status", success_value="ok").send(make_call())


def test_a_refusal_within_a_success_status_shows_nothing_of_ours(make_api, make_call, provider):
    provider.answer(200, b'{"error": "t0ken s3cret +12015550123 Hello"}')
    api = make_api(
        success_path="$.ok",
        token="t0ken",
        headers={"X-Key": "s3cret"},
        path_template="/",
        body_template="x",
    )

    with pytest.raises(Rejected) as raised:
        api.send(make_call(recipient="+12015550123", body="Hello"))

    assert raised.value.detail == '{"error": "*** *** +*** ***"}'


@pytest.mark.parametrize(
    ("reply", "message_id"),
    [
        (b'{"data": [{"id": "a7"}, {"id": "b8"}]}', "a7"),
        (b'{"data": [{"id": 7}]}', "7"),
        (b'{"data": [{"id": "a\\u0000b"}]}', "a b"),
        (b'{"data": [{"id": "%s"}]}' % (b"x" * 300), "x" * 255),
        (b'{"data": [{"id": null}]}', None),
        (b'{"data": [{"id": {"x": 1}}]}', None),
        (b'{"data": [{"id": true}]}', None),
        (b'{"data": [{"id": ""}]}', None),
        (b'{"data": []}', None),
        (b"7", None),
        (b"", None),
    ],
)
def test_the_apis_id_is_taken_from_its_reply(make_api, make_call, provider, reply, message_id):
    provider.answer(201, reply)

    accepted = make_api(id_path="$.data[*].id").send(make_call())

    assert isinstance(accepted, Accepted)
    assert accepted.provider_message_id == message_id


def test_a_reply_too_deep_for_a_path_is_taken_as_one_without_an_id(make_api, make_call, provider):
    provider.answer(200, b'{"a":' * 500 + b"1" + b"}" * 500)

    assert make_api(id_path="$..id").send(make_call()).provider_message_id is None


@pytest.mark.parametrize(
    ("status", "reply", "header", "seconds"),
    [
        (429, {"error": {"retry_in": 30}}, None, 30),
        (429, {"error": {"retry_in": 1.2}}, None, 2),
        (429, {"error": {"retry_in": "30"}}, None, 30),
        (503, {"error": {"retry_in": 30}}, "5", 30),
        (503, {"error": {}}, "5", 5),
        (503, {"error": {"retry_in": True}}, "5", 5),
        (503, {"error": {"retry_in": "soon"}}, "5", 5),
        (503, {"error": {"retry_in": -3}}, None, 0),
        (503, {"error": {"retry_in": 1e300}}, None, 86400),
        (200, {"ok": False, "error": {"retry_in": 30}}, None, 30),
    ],
)
def test_the_wait_is_taken_from_the_reply(
    make_api, make_call, provider, status, reply, header, seconds
):
    headers = {"Retry_After": header} if header else {}
    provider.answer(status, json.dumps(reply).encode(), **headers)
    api = make_api(retry_after_path="$.error.retry_in", success_path="$.ok", success_value=True)

    with pytest.raises(Unavailable) as raised:
        api.send(make_call())

    assert raised.value.retry_after == timedelta(seconds=seconds)


def test_a_wait_without_an_end_is_none(make_api, make_call, provider):
    provider.answer(503, b'{"wait": Infinity}')

    with pytest.raises(Unavailable) as raised:
        make_api(retry_after_path="$.wait").send(make_call())

    assert raised.value.retry_after is None


@pytest.mark.parametrize("status", [400, 403])
def test_a_wait_makes_no_retry_of_what_the_status_refuses(make_api, make_call, provider, status):
    provider.answer(status, b'{"wait": 30}')

    with pytest.raises(Rejected):
        make_api(retry_after_path="$.wait").send(make_call())
