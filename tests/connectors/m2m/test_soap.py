from datetime import UTC, datetime
from xml.etree import ElementTree as ET

from connectors.base import Misconfigured, Rejected, Unavailable
from connectors.m2m.soap import KIND_OF_STATUS
from tests.connectors.m2m.polling import poll, sent
from tests.connectors.m2m.soap_bodies import (
    API_KEY,
    RECIPIENT,
    SOAP_12,
    fault_12,
    sent_as,
    statuses,
)
from tests.connectors.sending import outcome

DATE = "2026-11-22T15:00:00.1234567+03:00"


def test_envelope_contains_message_and_credentials(make_scripted, make_message, provider):
    provider.answer(200, sent_as("2648"))

    accepted = make_scripted(login="user", password="123456", sender="RELAY").send(
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


def test_api_key_replaces_login_and_password(make_scripted, make_message, provider):
    provider.answer(200, sent_as("2648"))

    make_scripted(api_key="k3y").send(make_message(recipient=RECIPIENT))

    [received] = provider.received
    assert received.headers["Authorization"] == "Bearer k3y"
    method = ET.fromstring(received.body)[0][0]
    assert [child.tag.rpartition("}")[2] for child in method] == ["msid", "message"]


def test_success_is_accepted_even_without_a_valid_id(make_scripted, make_message, provider):
    table = [
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
    ]
    m2m, message = make_scripted(**API_KEY), make_message(recipient=RECIPIENT)
    failures = []
    for body, message_id in table:
        provider.answer(200, body)
        accepted = m2m.send(message)
        if (accepted.provider_message_id, accepted.code) != (message_id, "200"):
            failures.append((body, accepted))
    assert not failures


def test_response_with_a_document_type_is_not_parsed(make_scripted, make_message, provider):
    utf_16 = '<?xml version="1.0" encoding="utf-16"?><!DOCTYPE x [<!ENTITY a "1">]><x>&a;</x>'
    bodies = [
        b'<!DOCTYPE x [<!ENTITY a "MSID_FORMAT_ERROR">]>' + fault_12("&a;"),
        b'<?xml version="1.0"?>\n<!DOCTYPE x SYSTEM "file:///etc/passwd"><x/>',
        utf_16.encode("utf-16"),
        b'<?xml version="1.0" encoding="utf-7"?>+ADwAIQ-DOCTYPE x+AD4-<x/>',
    ]
    m2m, message = make_scripted(**API_KEY), make_message(recipient=RECIPIENT)
    failures = []
    for body in bodies:
        provider.answer(500, body)
        error = outcome(m2m, message)
        if (type(error), error.code) != (Unavailable, "500"):
            failures.append((body, error))
    assert not failures


def test_text_that_soap_cannot_carry_is_rejected_before_it_is_sent(
    make_simulated, make_message, doubles
):
    m2m = make_simulated(**API_KEY)
    table = {
        "ё" * 1001: "text_too_long",
        "a\x0bb": "text_not_allowed",
        "a\x1bb": "text_not_allowed",
        "a\ufffeb": "text_not_allowed",
        "a\ud800b": "text_not_allowed",
    }
    failures = []
    for body, code in table.items():
        error = outcome(m2m, make_message(recipient=RECIPIENT, body=body))
        if (type(error), error.code) != (Rejected, code):
            failures.append((body, error))
    assert not failures

    m2m.send(make_message(recipient=RECIPIENT, body="ё" * 1000))
    assert doubles.count()["by_outcome"] == {"accepted": 1}


# Polling


def test_every_status_becomes_a_receipt(make_scripted, provider):
    m2m = make_scripted(**API_KEY)
    table = {**KIND_OF_STATUS, "Resting": "unrecognised", "": "unrecognised"}
    failures = []
    for status, kind in table.items():
        provider.answer(200, statuses(("2648", status, DATE)))
        [receipt] = m2m.poll(sent("2648"))
        if (receipt.kind, receipt.code, receipt.suppress) != (kind, status, False):
            failures.append(receipt)
        assert receipt.key == f"2648:{status}:{DATE}"
        assert receipt.occurred_at == datetime(2026, 11, 22, 12, 0, 0, 123456, tzinfo=UTC)
        assert receipt.payload["PartCount"] == "2"
    assert not failures


def test_receipt_with_an_invalid_date_has_no_time(make_scripted, provider):
    provider.answer(200, statuses(("2648", "Sent", "soon")))

    [receipt] = make_scripted(**API_KEY).poll(sent("2648"))

    assert (receipt.occurred_at, receipt.key) == (None, "2648:Sent:soon")


def test_unknown_id_does_not_hide_the_status_of_other_messages(make_simulated, make_message):
    m2m = make_simulated(**API_KEY)
    known = [str(m2m.send(make_message(recipient=RECIPIENT)).provider_message_id) for _ in "abc"]

    receipts = m2m.poll(sent("1", known[0], "uuid-4", known[1], "2", known[2]))

    assert [(receipt.provider_message_id, receipt.kind) for receipt in receipts] == [
        (message_id, "queued") for message_id in known
    ]
    assert m2m.poll(sent("1")) == []
    assert m2m.poll(sent("uuid-4")) == []


def test_failed_poll_raises_the_error_of_its_response(make_scripted, provider):
    table: list[tuple[int, bytes, type, str]] = [
        (500, fault_12("INCORRECT_PASSWORD"), Misconfigured, "INCORRECT_PASSWORD"),
        (500, fault_12("SYSTEM_FAILURE"), Unavailable, "SYSTEM_FAILURE"),
        (500, fault_12("TOO_MANY_PARAMETERS"), Rejected, "TOO_MANY_PARAMETERS"),
        (503, b"", Unavailable, "503"),
        (200, b"<html>", Unavailable, "invalid_response"),
        (200, b"", Unavailable, "invalid_response"),
    ]
    m2m = make_scripted(**API_KEY)
    failures = []
    for status, body, kind, code in table:
        provider.answer(status, body)
        error = poll(m2m, "2648", "2649")
        if not isinstance(error, kind) or error.code != code:  # type: ignore[attr-defined]
            failures.append((status, body, error))
    assert not failures
    assert len(provider.received) == len(table)
