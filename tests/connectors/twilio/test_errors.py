import json
from datetime import timedelta

from connectors.base import Attachment, Misconfigured, Rejected, SendError, Unavailable
from connectors.twilio.connector import Twilio
from tests.connectors.sending import outcome
from tests.connectors.twilio.webhook_requests import TOKEN

CODES: dict[type[SendError], str] = {
    Unavailable: "20429 20500 21611 35125 30001 30003 30008 30022 63017 63018 63038",
    Rejected: (
        "21211 21212 21408 21602 21603 21606 21608 21610 21612 21614 21617 21635 21658 21659 21660 "
        "30004 30005 30006 30007 30010 30450 63016"
    ),
    Misconfigured: "20003 20404 21609 30002 30034",
}
OUTCOME_OF_CODE = {code: outcome for outcome, codes in CODES.items() for code in codes.split()}
SUPPRESS = {"21610": "opt_out", "30005": True}
STATUS_OF_CODE = {"20003": 401, "20404": 404, "20429": 429, "20500": 500}


def error_body(code: int | str | None, message: str = "no") -> bytes:
    return json.dumps({"code": code, "message": message, "status": 400}).encode()


def test_every_code_has_its_outcome(make_twilio, make_message, provider):
    assert sorted(error.code for error in Twilio.errors) == sorted(OUTCOME_OF_CODE)
    twilio = make_twilio()
    failures = []
    for code, expected in OUTCOME_OF_CODE.items():
        provider.answer(STATUS_OF_CODE.get(code, 400), error_body(int(code), "some text"))
        error = outcome(twilio, make_message())
        found = (type(error), error.code, error.detail, getattr(error, "suppress", False))
        if found != (expected, code, "some text", SUPPRESS.get(code, False)):
            failures.append(found)
    assert not failures


def test_wait_comes_from_retry_after_or_the_table(make_twilio, make_message, provider):
    table = [
        ("20429", None, None),
        ("20429", "7", timedelta(seconds=7)),
        ("21611", None, timedelta(minutes=10)),
        ("63038", None, timedelta(hours=1)),
        ("63018", None, timedelta(hours=4)),
        ("63018", "60", timedelta(seconds=60)),
    ]
    twilio = make_twilio()
    failures = []
    for code, header, wait in table:
        provider.answer(429, error_body(code), **({"Retry_After": header} if header else {}))
        error = outcome(twilio, make_message())
        if not isinstance(error, Unavailable) or error.retry_after != wait:
            failures.append((code, header, error))
    assert not failures


def test_status_decides_without_a_known_code(make_twilio, make_message, provider):
    problem = b'{"type": "about:blank", "title": "Bad", "detail": "not there", "code": 21211}'
    table: list[tuple[int, bytes, type[SendError], str, str]] = [
        # A code that is not in the table.
        (400, error_body(29999), Rejected, "29999", "no"),
        (403, error_body(29999), Rejected, "29999", "no"),
        (404, error_body("29999"), Rejected, "29999", "no"),
        (401, error_body(29999), Misconfigured, "401", "no"),
        (429, error_body(29999), Unavailable, "429", "no"),
        (500, error_body(29999), Unavailable, "500", "no"),
        # A problem document.
        (400, problem, Rejected, "21211", "not there"),
        (400, b'{"title": "Bad Request", "code": 21610}', Rejected, "21610", "Bad Request"),
        # No code.
        (400, error_body(None), Rejected, "400", "no"),
        (400, error_body("oops"), Rejected, "400", "no"),
        (403, b"<h1>Forbidden</h1>", Misconfigured, "403", "<h1>Forbidden</h1>"),
        (429, b"", Unavailable, "429", ""),
        (502, b"<h1>Bad Gateway</h1>", Unavailable, "502", "<h1>Bad Gateway</h1>"),
        (302, b"", Misconfigured, "302", ""),
        (400, b'["no"]', Rejected, "400", '["no"]'),
        (400, b'{"code": true, "message": 7}', Rejected, "400", '{"code": true, "message": 7}'),
    ]
    twilio = make_twilio()
    failures = []
    for status, body, kind, code, detail in table:
        provider.answer(status, body)
        error = outcome(twilio, make_message())
        if (type(error), error.code, error.detail) != (kind, code, detail):
            failures.append((status, body, error))
    assert not failures


def test_error_contains_no_secret_recipient_or_content(make_twilio, make_message, provider):
    credentials = "QUNhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYTowMTIzNDU2Nzg5YWJjZGVmMDEyMzQ1Njc4"
    text = (
        f"no {TOKEN} {credentials}OWFiY2RlZg== whatsapp:+12015550123 +12015550123 "
        "Your code is 4711 https://files.test/cat.png?key=1"
    )
    file = Attachment("cat.png", "image/png", url="https://files.test/cat.png?key=1")
    message = make_message(recipient="whatsapp:+12015550123", attachments=(file,))
    twilio = make_twilio()

    details = set()
    for code in (21211, 20429, 20003, 29999, None):
        provider.answer(400, error_body(code, text))
        details.add(outcome(twilio, message).detail)

    assert details == {"no *** *** *** +*** *** ***"}
