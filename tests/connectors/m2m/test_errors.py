import hashlib
import json
from html import escape
from typing import Any

from connectors.base import Misconfigured, Rejected, SendError, Unavailable
from connectors.m2m.connector import M2m
from connectors.m2m.errors import FAULTS
from tests.connectors.m2m.soap_bodies import (
    API_KEY,
    LOGIN,
    OMNICHANNEL,
    RECIPIENT,
    fault_11,
    fault_12,
)
from tests.connectors.sending import outcome

CODES: dict[type[SendError], str] = {
    Unavailable: (
        "SYSTEM_FAILURE MESSAGE_HANDLING_ERROR TEST_LIMIT_EXCEEDED TRUSTED_LIMIT_EXCEEDED"
    ),
    Misconfigured: "INCORRECT_PASSWORD IP_NOT_ALLOWED ACCOUNT_IS_BLOCKED OPERATION_NOT_ALLOWED",
    Rejected: (
        "MSID_FORMAT_ERROR MESSAGE_FORMAT_ERROR MAX_LENGTH_EXCEEDED EMPTY_MESSAGE_NOT_ALLOWED "
        "NO_SUCH_SUBSCRIBER MSID_IS_IN_BLACKLIST MSIDS_ARE_IN_BLACKLIST WRONG_ID "
        "TOO_MANY_PARAMETERS OBJECT_ALREADY_EXISTS TIME_IS_IN_THE_PAST not_accepted"
    ),
}
BLACKLISTS = {"MSID_IS_IN_BLACKLIST", "MSIDS_ARE_IN_BLACKLIST"}


def test_every_code_has_its_outcome():
    expected = {code: kind for kind, codes in CODES.items() for code in codes.split()}

    assert {error.code: error.outcome for error in M2m.errors} == expected
    assert {error.code for error in M2m.errors if error.suppress} == BLACKLISTS
    assert {error.suppress for error in M2m.errors if error.code in BLACKLISTS} == {"opt_out"}


def test_fault_with_a_known_name_is_classified_by_it_whatever_the_status(
    make_scripted, make_message, provider
):
    m2m, message = make_scripted(**API_KEY), make_message(recipient=RECIPIENT)
    failures = []
    for fault in FAULTS:
        for status in (200, 400, 500, 503):
            for fault_body in (fault_11, fault_12):
                provider.answer(status, fault_body(fault.code))
                error = outcome(m2m, message)
                found = (
                    type(error),
                    error.code,
                    getattr(error, "suppress", False),
                    getattr(error, "retry_after", None),
                )
                if found != (fault.outcome, fault.code, fault.suppress, fault.retry_after):
                    failures.append((status, fault_body.__name__, found))
    assert not failures


def test_detail_contains_the_number_and_the_name_of_a_fault(make_scripted, make_message, provider):
    provider.answer(500, fault_11("MSID_FORMAT_ERROR", "506"))

    error = outcome(make_scripted(**API_KEY), make_message(recipient=RECIPIENT))

    assert error.detail == "506 MSID_FORMAT_ERROR"


def test_response_without_a_known_fault_is_classified(make_scripted, make_message, provider):
    table: list[tuple[int, bytes, type, str]] = [
        # A fault with an unknown name.
        (500, fault_11("SOMETHING_NEW", "707"), Rejected, "SOMETHING_NEW"),
        (200, fault_12("SOMETHING_NEW"), Rejected, "SOMETHING_NEW"),
        (500, fault_12("Server was unable to process request."), Rejected, "soap_fault"),
        (500, fault_12(""), Rejected, "soap_fault"),
        (401, fault_12("SOMETHING_NEW"), Misconfigured, "401"),
        (429, fault_12("SOMETHING_NEW"), Unavailable, "429"),
        (502, fault_11("SOMETHING_NEW"), Unavailable, "502"),
        (503, fault_11("SOMETHING_NEW"), Unavailable, "503"),
        (504, fault_11("SOMETHING_NEW"), Unavailable, "504"),
        # No fault.
        (500, b"<h1>Server Error</h1>", Unavailable, "500"),
        (500, b"", Unavailable, "500"),
        (500, fault_11("MSID_FORMAT_ERROR")[:-20], Unavailable, "500"),
        (503, b"maintenance", Unavailable, "503"),
        (302, b"", Misconfigured, "302"),
        (400, b"bad", Rejected, "400"),
        (401, b"", Misconfigured, "401"),
        (403, b"", Misconfigured, "403"),
        (404, b"", Rejected, "404"),
    ]
    m2m, message = make_scripted(**API_KEY), make_message(recipient=RECIPIENT)
    failures = []
    for status, body, kind, code in table:
        provider.answer(status, body)
        error = outcome(m2m, message)
        if (type(error), error.code) != (kind, code):
            failures.append((status, body, error))
    assert not failures


def test_error_contains_no_secret_recipient_or_content(make_scripted, make_message, provider):
    table: list[tuple[dict[str, Any], list[str]]] = [
        (API_KEY, ["sandbox-m2m-api-key"]),
        (LOGIN, ["gw_password", hashlib.md5(b"gw_password").hexdigest()]),
        (OMNICHANNEL, ["gw_password", "Z3dfbG9naW46Z3dfcGFzc3dvcmQ="]),
    ]
    message = make_message(recipient=RECIPIENT, body="Code <4711>")
    failures = []
    for settings, secrets in table:
        connector = make_scripted(**settings)
        echo = " ".join([*secrets, "79161234567", "Code <4711>"])
        results = [{"error_code": 1, "error_message": echo}]
        bodies = [
            fault_12(escape(echo)),
            json.dumps({"message": echo, "messages": results}).encode(),
            escape(echo).encode(),
        ]
        for status in (200, 401, 500):
            for body in bodies:
                provider.answer(status, body)
                text = str(outcome(connector, message))
                if any(hidden in text for hidden in (*secrets, "79161234567", "4711")):
                    failures.append((settings, status, text))
    assert not failures


def test_wrong_credentials_are_misconfigured(make_simulated, make_message):
    table: list[tuple[dict[str, Any], str]] = [
        ({"api_key": "other"}, "INCORRECT_PASSWORD"),
        ({**LOGIN, "password": "other"}, "INCORRECT_PASSWORD"),
        ({**OMNICHANNEL, "password": "other"}, "401"),
    ]
    failures = []
    for settings, code in table:
        error = outcome(make_simulated(**settings), make_message(recipient=RECIPIENT))
        if (type(error), error.code) != (Misconfigured, code):
            failures.append((settings, error))
    assert not failures


def test_blacklisted_number_is_suppressed(make_simulated, make_message):
    error = outcome(make_simulated(**API_KEY), make_message(recipient="+79990000410"))

    assert isinstance(error, Rejected)
    assert (error.code, error.suppress) == ("MSID_IS_IN_BLACKLIST", "opt_out")
