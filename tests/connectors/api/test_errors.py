import json
from datetime import timedelta

from connectors.base import Accepted, Misconfigured, Rejected, Reply, Unavailable, Uncertain
from tests.connectors.sending import outcome

TOKEN = "t0ken-of-ours"


def test_any_2xx_is_accepted_and_its_response_is_stored(make_api, make_call, provider):
    api = make_api(response_limit_bytes=100)
    for status, body, headers, reply in [
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
    ]:
        provider.answer(status, body, **headers)
        accepted = api.send(make_call())
        assert (accepted.code, accepted.reply) == (str(status), reply)


def test_other_statuses_are_errors_that_reveal_nothing_secret(make_api, make_call, provider):
    content = '{"code": "4711"}'
    echo = json.dumps({"error": f"why {TOKEN} s3cret /messages {content}"}).encode()
    api = make_api(token=TOKEN, headers={"X-Api-Key": "s3cret"})
    failures = []
    for status, kind in [
        (301, Rejected),  # the message chose the path, so the agent is not paused
        (401, Misconfigured),
        (403, Rejected),
        (404, Rejected),
        (422, Rejected),
        (429, Unavailable),
        (500, Unavailable),
    ]:
        provider.answer(status, echo)
        error = outcome(api, make_call(payload={"code": "4711"}))
        if (type(error), error.detail) != (kind, '{"error": "why *** *** *** ***"}'):
            failures.append((status, error))
    assert not failures


def test_gone_receiver_of_signed_webhooks_is_suppressed(make_api, make_call, provider):
    provider.answer(410)
    for secrets, suppress in [(["whsec_" + "A" * 32], True), ([], False)]:
        error = outcome(make_api(signing_secrets=secrets), make_call())
        assert isinstance(error, Rejected)
        assert (error.code, error.suppress) == ("410", suppress)


def test_missing_response_is_uncertain(make_api, make_call, provider):
    provider.hang()

    assert isinstance(outcome(make_api(), make_call()), Uncertain)


def test_success_statuses_can_be_configured(make_api, make_call, provider):
    for statuses, status, kind in [
        ([200, 409], 200, Accepted),
        ([200, 409], 409, Accepted),
        ([200, 409], 201, Rejected),
        ([304], 304, Accepted),
        (None, 299, Accepted),
        (None, 409, Rejected),
    ]:
        provider.answer(status)
        result = outcome(make_api(success_statuses=statuses), make_call())
        assert (type(result), result.code) == (kind, str(status)), (statuses, status)


def test_success_can_depend_on_a_value_in_the_response(make_api, make_call, provider):
    failures = []
    for path, value, body, kind in [
        ("$.status", "ok", {"status": "ok"}, Accepted),
        ("$.status", "ok", {"status": "OK"}, Rejected),
        ("$.status", "ok", {"status": ["ok"]}, Rejected),
        ("$.status", "ok", {"error": 1}, Rejected),
        ("$.status", "ok", ["ok"], Rejected),
        ("$.code", 0, {"code": 0}, Accepted),
        ("$.code", 0, {"code": 0.0}, Accepted),
        ("$.code", 0, {"code": False}, Rejected),
        ("$.code", 0, {"code": "0"}, Rejected),
        ("$.ok", True, {"ok": True}, Accepted),
        ("$.ok", True, {"ok": 1}, Rejected),
        ("$.results[*].code", 0, {"results": [{"code": 5}, {"code": 0}]}, Accepted),
        ("$.results[?@.code == 0]", None, {"results": [{"code": 0}]}, Accepted),
        ("$.results[?@.code == 0]", None, {"results": [{"code": 5}]}, Rejected),
        ("$.id", None, {"id": None}, Accepted),
    ]:
        provider.answer(200, json.dumps(body).encode())
        result = outcome(make_api(success_path=path, success_value=value), make_call())
        expected_detail = json.dumps(body) if kind is Rejected else None
        if (type(result), result.code, result.detail) != (kind, "200", expected_detail):
            failures.append((path, value, body, result))
    assert not failures


def test_unreadable_response_is_uncertain_if_success_depends_on_it(make_api, make_call, provider):
    api = make_api(success_path="$.status", success_value="ok")
    for body in (b"", b"ok", b'{"status": "o', b"[" * 100_000):
        provider.answer(200, body)
        error = outcome(api, make_call())
        assert isinstance(error, Uncertain)
        assert error.code == "invalid_response"


def test_refusal_with_a_success_status_reveals_nothing_secret(make_api, make_call, provider):
    provider.answer(200, b'{"error": "t0ken s3cret +12015550123 Hello"}')
    api = make_api(
        success_path="$.ok",
        token="t0ken",
        headers={"X-Key": "s3cret"},
        path_template="/",
        body_template="x",
    )

    error = outcome(api, make_call(recipient="+12015550123", body="Hello"))

    assert isinstance(error, Rejected)
    assert error.detail == '{"error": "*** *** +*** ***"}'


def test_message_id_is_found_by_its_path(make_api, make_call, provider):
    api = make_api(id_path="$.data[*].id")
    failures = []
    for body, message_id in [
        (b'{"data": [{"id": "a7"}, {"id": "b8"}]}', "a7"),
        (b'{"data": [{"id": 7}]}', "7"),
        (b'{"data": [{"id": null}]}', None),
        (b'{"data": [{"id": {"x": 1}}]}', None),
        (b'{"data": []}', None),
        (b"7", None),
        (b"", None),
    ]:
        provider.answer(201, body)
        accepted = api.send(make_call())
        if accepted.provider_message_id != message_id:
            failures.append((body, accepted))
    assert not failures


def test_response_nested_too_deeply_for_a_path_has_no_message_id(make_api, make_call, provider):
    provider.answer(200, b'{"a":' * 500 + b"1" + b"}" * 500)

    assert make_api(id_path="$..id").send(make_call()).provider_message_id is None


def test_wait_is_found_by_its_path(make_api, make_call, provider):
    api = make_api(retry_after_path="$.error.retry_in", success_path="$.ok", success_value=True)
    failures = []
    for status, body, header, seconds in [
        (429, b'{"error": {"retry_in": 30}}', None, 30),
        (429, b'{"error": {"retry_in": 1.2}}', None, 2),
        (429, b'{"error": {"retry_in": "30"}}', None, 30),
        (503, b'{"error": {"retry_in": 30}}', "5", 30),
        (503, b'{"error": {}}', "5", 5),
        (503, b'{"error": {"retry_in": true}}', "5", 5),
        (503, b'{"error": {"retry_in": "soon"}}', "5", 5),
        (503, b'{"error": {"retry_in": Infinity}}', "5", 5),
        (503, b'{"error": {"retry_in": -3}}', None, 0),
        (503, b'{"error": {"retry_in": 1e300}}', None, 86400),
        (200, b'{"ok": false, "error": {"retry_in": 30}}', None, 30),
    ]:
        provider.answer(status, body, **({"Retry_After": header} if header else {}))
        error = outcome(api, make_call())
        if getattr(error, "retry_after", None) != timedelta(seconds=seconds):
            failures.append((status, body, error))
    assert not failures


def test_wait_does_not_make_a_final_status_temporary(make_api, make_call, provider):
    api = make_api(retry_after_path="$.wait")
    for status in (400, 403):
        provider.answer(status, b'{"wait": 30}')
        assert isinstance(outcome(api, make_call()), Rejected)
