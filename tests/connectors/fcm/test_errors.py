import json
from datetime import timedelta
from typing import Any

import pytest

from connectors.base import Misconfigured, Rejected, Unavailable
from connectors.fcm.connector import BY_CODE
from tests.doubles.fcm import MAGIC_TOKENS

DEVICE = "dXJ3WzVfRk2k:APA91bHun4MxP5egoKMwt2KZFBaFUH-1RYqx"
FCM_ERROR = "type.googleapis.com/google.firebase.fcm.v1.FcmError"
BAD_REQUEST = "type.googleapis.com/google.rpc.BadRequest"


def error_body(
    status: int, general: str, text: str = "", code: str | None = None, **violations: str
) -> bytes:
    details: list[dict[str, Any]] = []
    if code:
        details.append({"@type": FCM_ERROR, "errorCode": code})
    if violations:
        fields = [
            {"field": field.replace("__", "."), "description": description}
            for field, description in violations.items()
        ]
        details.append({"@type": BAD_REQUEST, "fieldViolations": fields})
    error = {"code": status, "message": text, "status": general, "details": details}
    return json.dumps({"error": error}).encode()


def test_a_new_token_that_is_not_taken_either_is_a_misconfiguration(
    fcm, make_push, provider, answers
):
    answers[:] = [(401, error_body(401, "UNAUTHENTICATED", "no"), {})]

    with pytest.raises(Misconfigured, match="UNAUTHENTICATED"):
        fcm.send(make_push())

    used = [r.headers["Authorization"] for r in provider.received if r.path != "/token"]
    assert used == ["Bearer t0ken-1", "Bearer t0ken-2"]


@pytest.mark.parametrize("code", ["THIRD_PARTY_AUTH_ERROR", "APNS_AUTH_ERROR"])
def test_no_new_token_is_fetched_for_what_it_cannot_mend(fcm, make_push, provider, answers, code):
    answers[:] = [(401, error_body(401, "UNAUTHENTICATED", "no", code), {})]

    with pytest.raises(Misconfigured, match=code):
        fcm.send(make_push())

    assert [received.path for received in provider.received].count("/token") == 1


@pytest.mark.parametrize("name", MAGIC_TOKENS)
def test_the_errors_of_the_sandbox_are_known(sandboxed, make_push, name):
    _, _, code, _ = MAGIC_TOKENS[name]

    with pytest.raises(BY_CODE[code].outcome) as raised:
        sandboxed.send(make_push(recipient=f"{name}-device"))

    assert raised.value.code == code
    assert getattr(raised.value, "suppress", False) == (code == "UNREGISTERED")


def test_a_recipient_that_is_no_registration_token_is_suppressed(sandboxed, make_push):
    with pytest.raises(Rejected, match="INVALID_REGISTRATION_TOKEN") as raised:
        sandboxed.send(make_push(recipient="no token"))

    assert raised.value.suppress


def test_a_payload_that_fcm_does_not_understand_leaves_the_recipient_alone(sandboxed, make_push):
    with pytest.raises(Rejected, match=r"INVALID_ARGUMENT.*message\.data\.order") as raised:
        sandboxed.send(make_push(payload={"data": {"order": 7}}))

    assert not raised.value.suppress


A_MINUTE = timedelta(minutes=1)
TOKEN_TEXT = "The registration token is not a valid FCM registration token"

ERRORS = [
    # status, body, outcome, code, suppress, retry_after
    (404, error_body(404, "NOT_FOUND", "x", "UNREGISTERED"), Rejected, "UNREGISTERED", True),
    (400, error_body(400, "INVALID_ARGUMENT", "x"), Rejected, "INVALID_ARGUMENT", False),
    (
        400,
        error_body(400, "INVALID_ARGUMENT", TOKEN_TEXT, "INVALID_ARGUMENT"),
        Rejected,
        "INVALID_REGISTRATION_TOKEN",
        True,
    ),
    (
        400,
        error_body(400, "INVALID_ARGUMENT", TOKEN_TEXT, message__token="bad"),
        Rejected,
        "INVALID_REGISTRATION_TOKEN",
        True,
    ),
    (
        400,
        error_body(400, "INVALID_ARGUMENT", TOKEN_TEXT, message__data="bad"),
        Rejected,
        "INVALID_ARGUMENT",
        False,
    ),
    (
        403,
        error_body(403, "PERMISSION_DENIED", "x", "SENDER_ID_MISMATCH"),
        Rejected,
        "SENDER_ID_MISMATCH",
        False,
    ),
    (
        401,
        error_body(401, "UNAUTHENTICATED", "x", "THIRD_PARTY_AUTH_ERROR"),
        Misconfigured,
        "THIRD_PARTY_AUTH_ERROR",
        None,
    ),
    (
        401,
        error_body(401, "UNAUTHENTICATED", "x", "APNS_AUTH_ERROR"),
        Misconfigured,
        "APNS_AUTH_ERROR",
        None,
    ),
    (
        429,
        error_body(429, "RESOURCE_EXHAUSTED", "x", "QUOTA_EXCEEDED"),
        Unavailable,
        "QUOTA_EXCEEDED",
        A_MINUTE,
    ),
    (
        503,
        error_body(503, "UNAVAILABLE", "x", "UNAVAILABLE"),
        Unavailable,
        "UNAVAILABLE",
        timedelta(seconds=1),
    ),
    (500, error_body(500, "INTERNAL", "x", "INTERNAL"), Unavailable, "INTERNAL", None),
    (
        500,
        error_body(500, "UNKNOWN", "x", "UNSPECIFIED_ERROR"),
        Unavailable,
        "UNSPECIFIED_ERROR",
        None,
    ),
    (401, error_body(401, "UNAUTHENTICATED", "x"), Misconfigured, "UNAUTHENTICATED", None),
    (403, error_body(403, "PERMISSION_DENIED", "x"), Misconfigured, "PERMISSION_DENIED", None),
    (404, error_body(404, "NOT_FOUND", "x"), Rejected, "NOT_FOUND", False),
    (404, b"<title>Error 404</title>", Rejected, "NOT_FOUND", False),
    (409, error_body(409, "ABORTED", "x"), Rejected, "CONFLICT", False),
    (412, b"", Rejected, "FAILED_PRECONDITION", False),
    (400, error_body(400, "FAILED_PRECONDITION", "x"), Rejected, "FAILED_PRECONDITION", False),
    (429, b'{"error": "slow down"}', Unavailable, "RESOURCE_EXHAUSTED", A_MINUTE),
    # What the table does not have is read by its status.
    (404, error_body(404, "NOT_FOUND", "x", "BRAND_NEW"), Rejected, "NOT_FOUND", False),
    (418, error_body(418, "TEAPOT", "x", "BRAND_NEW"), Rejected, "418", False),
    (504, b"", Unavailable, "504", None),
    (302, b"", Misconfigured, "302", None),
]


@pytest.mark.parametrize(("status", "body", "outcome", "code", "extra"), ERRORS)
def test_every_error_has_its_outcome(fcm, make_push, answers, status, body, outcome, code, extra):
    answers[:] = [(status, body, {})]

    with pytest.raises(outcome) as raised:
        fcm.send(make_push())

    error = raised.value
    assert type(error) is outcome
    assert error.code == code
    assert getattr(error, "suppress" if outcome is Rejected else "retry_after", None) == extra


def test_no_row_of_the_table_is_without_a_test():
    assert {code for _, _, _, code, _ in ERRORS} >= set(BY_CODE)


@pytest.mark.parametrize("code", ["QUOTA_EXCEEDED", "UNAVAILABLE", "INTERNAL", "BRAND_NEW"])
def test_the_wait_that_fcm_asks_for_is_passed_on(fcm, make_push, answers, code):
    body = error_body(503, "UNAVAILABLE", "x", code)
    answers[:] = [(503, body, {"Retry_After": "30"})]

    with pytest.raises(Unavailable) as raised:
        fcm.send(make_push())

    assert raised.value.retry_after == timedelta(seconds=30)


@pytest.mark.parametrize(
    ("recipient", "target", "suppress"),
    [
        (DEVICE, {}, True),
        (DEVICE, {"token": DEVICE}, True),
        (DEVICE, {"fid": DEVICE}, True),
        ("user 7", {"token": DEVICE}, False),
        ("user 7", {"topic": "news"}, False),
    ],
)
def test_a_recipient_is_suppressed_only_where_it_is_the_device_itself(
    fcm, make_push, answers, recipient, target, suppress
):
    answers[:] = [(404, error_body(404, "NOT_FOUND", "x", "UNREGISTERED"), {})]

    with pytest.raises(Rejected) as raised:
        fcm.send(make_push(recipient=recipient, payload={"message": {"data": {}, **target}}))

    assert raised.value.suppress == suppress


def test_neither_tokens_nor_recipient_nor_content_is_in_an_error(fcm, make_push, answers):
    echo = f"bad: t0ken-1 {DEVICE} Your code is 4711 Sale 0815 and 42"
    body = error_body(400, "INVALID_ARGUMENT", echo, message__data="value 0815")
    answers[:] = [(400, body, {})]

    with pytest.raises(Rejected) as raised:
        fcm.send(make_push(subject="Sale", metadata={"pin": "0815", "age": 42}))

    assert raised.value.detail == "bad: *** *** *** *** *** and 42; message.data: value ***"
