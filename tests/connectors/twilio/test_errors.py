import json
from datetime import timedelta

import pytest

from connectors.base import Attachment, Misconfigured, Rejected, SendError, Unavailable
from connectors.twilio.connector import Twilio
from tests.connectors.twilio.calls import TOKEN

OUTCOMES: dict[type[SendError], str] = {
    Unavailable: "20429 20500 21611 35125 30001 30003 30008 30022 63017 63018 63038",
    Rejected: (
        "21211 21212 21408 21602 21603 21606 21608 21610 21612 21614 21617 21635 21658 21659 21660 "
        "30004 30005 30006 30007 30010 30450 63016"
    ),
    Misconfigured: "20003 20404 21609 30002 30034",
}
OUTCOME_OF_CODE = {code: outcome for outcome, codes in OUTCOMES.items() for code in codes.split()}
SUPPRESSING = {"21610": "opt_out", "30005": True}
STATUS_OF_CODE = {"20003": 401, "20404": 404, "20429": 429, "20500": 500}


def error_body(code: int | str | None, message: str = "no") -> bytes:
    return json.dumps({"code": code, "message": message, "status": 400}).encode()


def test_the_table_has_the_codes_that_are_expected_of_it():
    assert sorted(error.code for error in Twilio.errors) == sorted(OUTCOME_OF_CODE)


@pytest.mark.parametrize("code", OUTCOME_OF_CODE)
def test_every_code_has_its_outcome(make_twilio, make_message, provider, code):
    provider.answer(STATUS_OF_CODE.get(code, 400), error_body(int(code), "it says"))

    with pytest.raises(SendError) as raised:
        make_twilio().send(make_message())

    assert type(raised.value) is OUTCOME_OF_CODE[code]
    assert (raised.value.code, raised.value.detail) == (code, "it says")
    assert getattr(raised.value, "suppress", False) == SUPPRESSING.get(code, False)


@pytest.mark.parametrize(
    ("code", "asked", "wait"),
    [
        ("20429", None, None),
        ("20429", "7", timedelta(seconds=7)),
        ("21611", None, timedelta(minutes=10)),
        ("63038", None, timedelta(hours=1)),
        ("63018", None, timedelta(hours=4)),
        ("63018", "60", timedelta(seconds=60)),
    ],
)
def test_a_wait_is_what_twilio_asks_for_or_what_the_table_knows(
    make_twilio, make_message, provider, code, asked, wait
):
    provider.answer(429, error_body(code), **({"Retry_After": asked} if asked else {}))

    with pytest.raises(Unavailable) as raised:
        make_twilio().send(make_message())

    assert raised.value.retry_after == wait


@pytest.mark.parametrize(
    ("status", "body", "outcome", "code", "detail"),
    [
        # A code that the table lacks
        (400, error_body(29999), Rejected, "29999", "no"),
        (403, error_body(29999), Rejected, "29999", "no"),
        (404, error_body("29999"), Rejected, "29999", "no"),
        (401, error_body(29999), Misconfigured, "401", "no"),
        (429, error_body(29999), Unavailable, "429", "no"),
        (500, error_body(29999), Unavailable, "500", "no"),
        # The newer body, of RFC 9457
        (
            400,
            b'{"type": "about:blank", "title": "Bad", "detail": "not there", "code": 21211}',
            Rejected,
            "21211",
            "not there",
        ),
        (400, b'{"title": "Bad Request", "code": 21610}', Rejected, "21610", "Bad Request"),
        # No code at all
        (400, error_body(None), Rejected, "400", "no"),
        (400, error_body("oops"), Rejected, "400", "no"),
        (403, b"<h1>Forbidden</h1>", Misconfigured, "403", "<h1>Forbidden</h1>"),
        (429, b"", Unavailable, "429", ""),
        (502, b"<h1>Bad Gateway</h1>", Unavailable, "502", "<h1>Bad Gateway</h1>"),
        (302, b"", Misconfigured, "302", ""),
        (400, b'["no"]', Rejected, "400", '["no"]'),
        (400, b'{"code": true, "message": 7}', Rejected, "400", '{"code": true, "message": 7}'),
    ],
)
def test_without_a_known_code_the_status_decides(
    make_twilio, make_message, provider, status, body, outcome, code, detail
):
    provider.answer(status, body)

    with pytest.raises(SendError) as raised:
        make_twilio().send(make_message())

    assert type(raised.value) is outcome
    assert (raised.value.code, raised.value.detail) == (code, detail)


@pytest.mark.parametrize("code", [21211, 20429, 20003, 29999, None])
def test_no_secret_no_recipient_and_no_content_is_in_an_error(
    make_twilio, make_message, provider, code
):
    credentials = "QUNhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYTowMTIzNDU2Nzg5YWJjZGVmMDEyMzQ1Njc4"
    said = (
        f"no {TOKEN} {credentials}OWFiY2RlZg== whatsapp:+12015550123 +12015550123 "
        "Your code is 4711 https://files.test/cat.png?key=1"
    )
    provider.answer(400, error_body(code, said))
    file = Attachment("cat.png", "image/png", url="https://files.test/cat.png?key=1")

    with pytest.raises(SendError) as raised:
        make_twilio().send(make_message(recipient="whatsapp:+12015550123", attachments=(file,)))

    assert raised.value.detail == "no *** *** *** +*** *** ***"
