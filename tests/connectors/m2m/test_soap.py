from xml.etree import ElementTree as ET

import pytest

from connectors.base import Misconfigured, Rejected, Unavailable
from connectors.m2m.errors import FAULTS
from tests.connectors.m2m.wire import KEY, RECIPIENT, SOAP_12, fault_11, fault_12, sent_as


def test_the_envelope_is_that_of_the_service(at_provider, make_message, provider):
    provider.answer(200, sent_as("2648"))

    accepted = at_provider(login="user", password="123456", sender="RELAY").send(
        make_message(recipient=RECIPIENT, body="Привет")
    )

    assert accepted.provider_message_id == "2648"
    [received] = provider.received
    assert (received.method, received.path) == ("POST", "/mts")
    assert received.headers["Content-Type"] == "application/soap+xml; charset=utf-8"
    assert received.headers["Authorization"] is None
    assert received.body.decode() == (
        "<?xml version='1.0' encoding='utf-8'?>\n"
        f'<soap12:Envelope xmlns:soap12="{SOAP_12}"><soap12:Body>'
        '<SendMessage xmlns="http://mcommunicator.ru/M2M"><msid>79161234567</msid>'
        "<message>Привет</message><naming>RELAY</naming><login>user</login>"
        "<password>e10adc3949ba59abbe56e057f20f883e</password></SendMessage>"
        "</soap12:Body></soap12:Envelope>"
    )


def test_a_key_takes_the_place_of_login_and_password(at_provider, make_message, provider):
    provider.answer(200, sent_as("2648"))

    at_provider(api_key="k3y").send(make_message(recipient=RECIPIENT))

    [received] = provider.received
    assert received.headers["Authorization"] == "Bearer k3y"
    method = ET.fromstring(received.body)[0][0]
    assert [child.tag.rpartition("}")[2] for child in method] == ["msid", "message"]


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.code)
@pytest.mark.parametrize("status", [200, 400, 500, 503])
@pytest.mark.parametrize("shape", [fault_11, fault_12])
def test_a_fault_means_what_its_name_says_whatever_the_status(
    at_provider, make_message, provider, fault, status, shape
):
    provider.answer(status, shape(fault.code))

    with pytest.raises(fault.outcome) as raised:
        at_provider(**KEY).send(make_message(recipient=RECIPIENT))

    assert raised.value.code == fault.code
    assert getattr(raised.value, "suppress", False) == fault.suppress
    assert getattr(raised.value, "retry_after", None) == fault.retry_after


def test_only_the_blacklists_suppress_the_number():
    assert {fault.code: fault.suppress for fault in FAULTS if fault.suppress} == {
        "MSID_IS_IN_BLACKLIST": "opt_out",
        "MSIDS_ARE_IN_BLACKLIST": "opt_out",
    }


def test_the_number_of_a_fault_is_told_with_its_name(at_provider, make_message, provider):
    provider.answer(500, fault_11("MSID_FORMAT_ERROR", "506"))

    with pytest.raises(Rejected) as raised:
        at_provider(**KEY).send(make_message(recipient=RECIPIENT))

    assert raised.value.detail == "506 MSID_FORMAT_ERROR"


@pytest.mark.parametrize(
    ("status", "body", "outcome", "code"),
    [
        (500, fault_11("SOMETHING_NEW", "707"), Rejected, "SOMETHING_NEW"),
        (200, fault_12("SOMETHING_NEW"), Rejected, "SOMETHING_NEW"),
        (500, fault_12("Server was unable to process request."), Rejected, "soap_fault"),
        (500, fault_12(""), Rejected, "soap_fault"),
        (401, fault_12("SOMETHING_NEW"), Misconfigured, "401"),
        (429, fault_12("SOMETHING_NEW"), Unavailable, "429"),
        (502, fault_11("SOMETHING_NEW"), Unavailable, "502"),
        (503, fault_11("SOMETHING_NEW"), Unavailable, "503"),
        (504, fault_11("SOMETHING_NEW"), Unavailable, "504"),
        (500, b"<h1>Server Error</h1>", Unavailable, "500"),
        (500, b"", Unavailable, "500"),
        (500, fault_11("MSID_FORMAT_ERROR")[:-20], Unavailable, "500"),
        (503, b"maintenance", Unavailable, "503"),
        (302, b"", Misconfigured, "302"),
        (400, b"bad", Rejected, "400"),
        (401, b"", Misconfigured, "401"),
        (403, b"", Misconfigured, "403"),
        (404, b"", Rejected, "404"),
    ],
)
def test_what_has_no_known_name_is_classed_by_whether_it_is_a_fault_at_all(
    at_provider, make_message, provider, status, body, outcome, code
):
    provider.answer(status, body)

    with pytest.raises(outcome) as raised:
        at_provider(**KEY).send(make_message(recipient=RECIPIENT))

    assert raised.value.code == code


@pytest.mark.parametrize(
    ("body", "message_id"),
    [
        (sent_as(" 2648\n"), "2648"),
        (sent_as("9223372036854775807"), "9223372036854775807"),
        (sent_as("9" * 5000), None),
        (sent_as("0"), None),
        (sent_as("-1"), None),
        (sent_as(""), None),
        (b'\xef\xbb\xbf<x xmlns="any"><SendMessageResult>1</SendMessageResult></x>', "1"),
        (b"<html/>", None),
        (b"", None),
        (b"\xff\xfe", None),
    ],
)
def test_a_success_is_accepted_with_whatever_id_is_legible(
    at_provider, make_message, provider, body, message_id
):
    provider.answer(200, body)

    accepted = at_provider(**KEY).send(make_message(recipient=RECIPIENT))

    assert (accepted.provider_message_id, accepted.code) == (message_id, "200")


@pytest.mark.parametrize(
    "body",
    [
        b'<!DOCTYPE x [<!ENTITY a "MSID_FORMAT_ERROR">]>' + fault_12("&a;"),
        b'<?xml version="1.0"?>\n<!DOCTYPE x SYSTEM "file:///etc/passwd"><x/>',
        '<?xml version="1.0" encoding="utf-16"?><!DOCTYPE x [<!ENTITY a "1">]><x>&a;</x>'.encode(
            "utf-16"
        ),
        b'<?xml version="1.0" encoding="utf-7"?>+ADwAIQ-DOCTYPE x+AD4-<x/>',
    ],
    ids=["entity", "external", "utf-16", "utf-7"],
)
def test_a_reply_with_a_document_type_is_not_read(at_provider, make_message, provider, body):
    provider.answer(500, body)

    with pytest.raises(Unavailable, match="500"):
        at_provider(**KEY).send(make_message(recipient=RECIPIENT))


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ("ё" * 1000, None),
        ("ё" * 1001, "text_too_long"),
        ("a\x0bb", "text_not_allowed"),
        ("a\x1bb", "text_not_allowed"),
        ("a\ufffeb", "text_not_allowed"),
        ("a\ud800b", "text_not_allowed"),
    ],
)
def test_a_text_that_soap_cannot_carry_is_refused_before_it_is_sent(
    at_sandbox, make_message, sandbox, body, code
):
    connector, message = at_sandbox(**KEY), make_message(recipient=RECIPIENT, body=body)

    if code is None:
        connector.send(message)
    else:
        with pytest.raises(Rejected, match=code):
            connector.send(message)

    assert sandbox.count()["by_outcome"] == ({"accepted": 1} if code is None else {})


def test_a_blacklisted_number_is_suppressed(at_sandbox, make_message):
    with pytest.raises(Rejected) as raised:
        at_sandbox(**KEY).send(make_message(recipient="+79990000410"))

    assert (raised.value.code, raised.value.suppress) == ("MSID_IS_IN_BLACKLIST", "opt_out")
