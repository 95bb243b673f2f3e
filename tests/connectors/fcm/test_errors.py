import json
from datetime import timedelta
from typing import Any

from connectors.base import Accepted, Misconfigured, Rejected, Unavailable
from connectors.fcm.errors import BY_CODE
from tests.connectors.fcm.conftest import DEVICE
from tests.connectors.sending import outcome
from tests.doubles.fcm import MAGIC_TOKENS

FCM_ERROR = "type.googleapis.com/google.firebase.fcm.v1.FcmError"
BAD_REQUEST = "type.googleapis.com/google.rpc.BadRequest"
MINUTE, SECOND = timedelta(minutes=1), timedelta(seconds=1)
INVALID_TOKEN_TEXT = "The registration token is not a valid FCM registration token"


def error_body(general: str, text: str = "x", code: str | None = None, **violations: str) -> bytes:
    """Return the body of an error response, with the field violations by path (`a__b` for a.b)."""
    details: list[dict[str, Any]] = []
    if code:
        details.append({"@type": FCM_ERROR, "errorCode": code})
    if violations:
        fields = [
            {"field": field.replace("__", "."), "description": description}
            for field, description in violations.items()
        ]
        details.append({"@type": BAD_REQUEST, "fieldViolations": fields})
    return json.dumps({"error": {"message": text, "status": general, "details": details}}).encode()


def test_second_rejected_access_token_is_misconfigured(fcm, make_push, provider, answers):
    answers[:] = [(401, error_body("UNAUTHENTICATED"), {})]

    error = outcome(fcm, make_push())

    assert isinstance(error, Misconfigured)
    assert error.code == "UNAUTHENTICATED"
    used = [r.headers["Authorization"] for r in provider.received if r.path != "/token"]
    assert used == ["Bearer t0ken-1", "Bearer t0ken-2"]


def test_access_token_is_not_replaced_for_errors_of_a_third_party(
    fcm, make_push, provider, answers
):
    for code in ("THIRD_PARTY_AUTH_ERROR", "APNS_AUTH_ERROR"):
        answers[:] = [(401, error_body("UNAUTHENTICATED", code=code), {})]
        assert outcome(fcm, make_push()).code == code

    assert [received.path for received in provider.received].count("/token") == 1


def test_errors_of_the_simulated_fcm_are_recognized(sandboxed, make_push):
    for name, (_, _, code, _) in MAGIC_TOKENS.items():
        error = outcome(sandboxed, make_push(recipient=f"{name}-device"))
        assert (type(error), error.code) == (BY_CODE[code].outcome, code)
        assert getattr(error, "suppress", False) == (code == "UNREGISTERED")

    error = outcome(sandboxed, make_push(recipient="no token"))
    assert isinstance(error, Rejected)
    assert (error.code, error.suppress) == ("INVALID_REGISTRATION_TOKEN", True)

    error = outcome(sandboxed, make_push(payload={"data": {"order": 7}}))
    assert isinstance(error, Rejected)
    assert (error.code, error.suppress) == ("INVALID_ARGUMENT", False)
    assert "message.data.order" in error.detail


def test_every_error_is_classified(fcm, make_push, answers):
    invalid = "INVALID_ARGUMENT"
    rows: list[tuple[int, bytes, type, str, Any]] = [
        # status, body, exception, code, suppress or retry_after
        (404, error_body("NOT_FOUND", code="UNREGISTERED"), Rejected, "UNREGISTERED", True),
        (400, error_body(invalid), Rejected, invalid, False),
        (
            400,
            error_body(invalid, INVALID_TOKEN_TEXT, invalid),
            Rejected, "INVALID_REGISTRATION_TOKEN", True,
        ),
        (
            400,
            error_body(invalid, INVALID_TOKEN_TEXT, message__token="bad"),
            Rejected, "INVALID_REGISTRATION_TOKEN", True,
        ),
        (
            400,
            error_body(invalid, INVALID_TOKEN_TEXT, message__data="bad"),
            Rejected, invalid, False,
        ),
        (
            403,
            error_body("PERMISSION_DENIED", code="SENDER_ID_MISMATCH"),
            Rejected, "SENDER_ID_MISMATCH", False,
        ),
        (
            401,
            error_body("UNAUTHENTICATED", code="THIRD_PARTY_AUTH_ERROR"),
            Misconfigured, "THIRD_PARTY_AUTH_ERROR", None,
        ),
        (
            401,
            error_body("UNAUTHENTICATED", code="APNS_AUTH_ERROR"),
            Misconfigured, "APNS_AUTH_ERROR", None,
        ),
        (
            429,
            error_body("RESOURCE_EXHAUSTED", code="QUOTA_EXCEEDED"),
            Unavailable, "QUOTA_EXCEEDED", MINUTE,
        ),
        (
            503,
            error_body("UNAVAILABLE", code="UNAVAILABLE"),
            Unavailable, "UNAVAILABLE", SECOND,
        ),
        (500, error_body("INTERNAL", code="INTERNAL"), Unavailable, "INTERNAL", None),
        (
            500,
            error_body("UNKNOWN", code="UNSPECIFIED_ERROR"),
            Unavailable, "UNSPECIFIED_ERROR", None,
        ),
        (401, error_body("UNAUTHENTICATED"), Misconfigured, "UNAUTHENTICATED", None),
        (403, error_body("PERMISSION_DENIED"), Misconfigured, "PERMISSION_DENIED", None),
        (404, error_body("NOT_FOUND"), Rejected, "NOT_FOUND", False),
        (404, b"<title>Error 404</title>", Rejected, "NOT_FOUND", False),
        (409, error_body("ABORTED"), Rejected, "CONFLICT", False),
        (412, b"", Rejected, "FAILED_PRECONDITION", False),
        (400, error_body("FAILED_PRECONDITION"), Rejected, "FAILED_PRECONDITION", False),
        (429, b'{"error": "slow down"}', Unavailable, "RESOURCE_EXHAUSTED", MINUTE),
        # Codes that are not in the table are classified by the status.
        (404, error_body("NOT_FOUND", code="BRAND_NEW"), Rejected, "NOT_FOUND", False),
        (418, error_body("TEAPOT", code="BRAND_NEW"), Rejected, "418", False),
        (504, b"", Unavailable, "504", None),
        (302, b"", Misconfigured, "302", None),
    ]  # fmt: skip
    failures = []
    for status, body, kind, code, extra in rows:
        answers[:] = [(status, body, {})]
        error = outcome(fcm, make_push())
        found = getattr(error, "suppress" if kind is Rejected else "retry_after", None)
        if (type(error), error.code, found) != (kind, code, extra):
            failures.append((status, body, error, found))
    assert not failures
    assert {row[3] for row in rows} >= set(BY_CODE)


def test_retry_after_is_honored(fcm, make_push, answers):
    for code in ("QUOTA_EXCEEDED", "UNAVAILABLE", "INTERNAL", "BRAND_NEW"):
        answers[:] = [(503, error_body("UNAVAILABLE", code=code), {"Retry_After": "30"})]
        error = outcome(fcm, make_push())
        assert isinstance(error, Unavailable)
        assert error.retry_after == timedelta(seconds=30), code


def test_recipient_is_suppressed_only_if_it_is_the_device(fcm, make_push, answers):
    answers[:] = [(404, error_body("NOT_FOUND", code="UNREGISTERED"), {})]
    for recipient, target, suppress in [
        (DEVICE, {}, True),
        (DEVICE, {"token": DEVICE}, True),
        (DEVICE, {"fid": DEVICE}, True),
        ("user 7", {"token": DEVICE}, False),
        ("user 7", {"topic": "news"}, False),
    ]:
        payload = {"message": {"data": {}, **target}}
        error = outcome(fcm, make_push(recipient=recipient, payload=payload))
        assert isinstance(error, Rejected)
        assert error.suppress == suppress, (recipient, target)


def test_errors_do_not_reveal_tokens_recipient_or_content(fcm, make_push, answers):
    echo = f"bad: t0ken-1 {DEVICE} Your code is 4711 Sale 0815 and 42"
    answers[:] = [(400, error_body("INVALID_ARGUMENT", echo, message__data="value 0815"), {})]

    error = outcome(fcm, make_push(subject="Sale", metadata={"pin": "0815", "age": 42}))

    assert not isinstance(error, Accepted)
    assert error.detail == "bad: *** *** *** *** *** and 42; message.data: value ***"
