import json
import time
from typing import Any

import pytest

from connectors.base import Attachment, Misconfigured, Rejected, Uncertain
from connectors.sendgrid import connector as connector_module
from tests.connectors.sendgrid.conftest import KEY, UID
from tests.connectors.sending import outcome


def test_email_is_posted_as_json(make_sendgrid, make_email, provider):
    accepted = make_sendgrid(base_url=f"{provider.url}/").send(make_email())

    assert (accepted.provider_message_id, accepted.code) == ("14c5d75ce93", "202")
    [received] = provider.received
    assert (received.method, received.path) == ("POST", "/v3/mail/send")
    assert received.headers["Authorization"] == f"Bearer {KEY}"
    assert received.headers["Content-Type"] == "application/json"
    assert received.headers["Accept"] == "application/json"
    assert json.loads(received.body) == {
        "personalizations": [{"to": [{"email": "ann@example.org"}]}],
        "from": {"email": "shop@example.com", "name": "Shop"},
        "subject": "Your code",
        "content": [{"type": "text/plain", "value": "It is 4711"}],
        "headers": {"Message-ID": f"<{UID}@example.com>"},
        "custom_args": {"postroom_uid": UID},
    }


def test_message_without_a_usable_id_is_accepted(make_sendgrid, make_email, provider):
    sendgrid = make_sendgrid()
    table: list[tuple[dict[str, str], str | None]] = [
        ({}, None),
        ({"X_Message_Id": ""}, None),
        ({"X_Message_Id": "x" * 999}, "x" * 255),
    ]
    failures = []
    for headers, message_id in table:
        provider.answer(202, b"anything", **headers)
        accepted = sendgrid.send(make_email())
        if accepted.provider_message_id != message_id:
            failures.append((headers, accepted))
    assert not failures


def test_message_above_the_maximum_size_is_rejected(
    make_sendgrid, make_email, provider, monkeypatch
):
    assert connector_module.MAX_REQUEST_BYTES == 31_457_280
    sendgrid = make_sendgrid()
    email = make_email(body="é", attachments=(Attachment("a", "image/png", content=b"x" * 999),))
    sendgrid.send(email)
    size = len(provider.received[0].body)

    monkeypatch.setattr(connector_module, "MAX_REQUEST_BYTES", size)
    sendgrid.send(email)
    monkeypatch.setattr(connector_module, "MAX_REQUEST_BYTES", size - 1)
    with pytest.raises(Rejected, match=f"too_large: {size} bytes .* maximum is {size - 1}"):
        sendgrid.send(email)

    assert size > 999 * 4 / 3
    assert len(provider.received) == 2


def test_request_without_an_answer_is_uncertain(make_sendgrid, make_email, provider, tight_limits):
    for misbehave in (provider.hang, provider.reset):
        misbehave()
        with pytest.raises(Uncertain):
            make_sendgrid(**tight_limits).send(make_email())

    assert len(provider.received) == 2


# With the simulated SendGrid


def test_simulated_sendgrid_accepts_everything_an_email_can_contain(
    make_simulated, make_email, doubles
):
    accepted = make_simulated().send(
        make_email(
            recipient='"Ann, née Ö" <ann@example.org>',
            sender="Team <team@example.com>",
            cc=("bob@bücher.example", "ANN@example.org"),
            bcc=("Cy <cy@example.org>", "bob@xn--bcher-kva.example"),
            reply_to="Help <help@example.com>",
            subject="Grüße 🙂",
            body="Text é",
            html="<p>Text é</p>",
            headers={"List-Unsubscribe": "<https://example.com/u>", "X-Note": "für dich " * 12},
            attachments=(
                Attachment("a; b, c.txt", "text/plain; charset=utf-8", content=b"\xff\0" * 99),
                Attachment("b.bin", "application/octet-stream", content=b"1"),
            ),
            metadata={"categories": ["news", "2026"], "send_at": 1700000000, "order": [1]},
        )
    )

    [record] = doubles.received(kind="sendgrid")
    assert accepted.provider_message_id == record["message_id"]
    assert record["personalizations"] == [
        {
            "to": [{"email": "ann@example.org", "name": "Ann, née Ö"}],
            "cc": [{"email": "bob@xn--bcher-kva.example", "name": ""}],
            "bcc": [{"email": "cy@example.org", "name": "Cy"}],
        }
    ]
    assert record["from"] == {"email": "team@example.com", "name": "Team"}
    assert record["reply_to"] == {"email": "help@example.com", "name": "Help"}
    assert record["subject"] == "Grüße 🙂"
    assert (record["text"], record["html"]) == ("Text é", "<p>Text é</p>")
    assert record["attachments"] == [
        {"filename": "a_ b_ c.txt", "type": "text/plain", "bytes": 198},
        {"filename": "b.bin", "type": "application/octet-stream", "bytes": 1},
    ]
    assert record["headers"]["List-Unsubscribe"] == "<https://example.com/u>"
    assert record["headers"]["X-Note"].isascii()
    assert record["custom_args"] == {"postroom_uid": UID}
    assert (record["categories"], record["send_at"]) == (["news", "2026"], 1700000000)


def test_email_in_sandbox_mode_has_no_id(make_simulated, make_email, doubles):
    accepted = make_simulated(sandbox_mode=True).send(make_email())

    assert (accepted.provider_message_id, accepted.code) == (None, "200")
    assert doubles.received()[0]["sandbox_mode"] is True


def test_every_attempt_has_the_same_message_id_header(make_simulated, make_email, doubles):
    sendgrid = make_simulated()

    sendgrid.send(make_email())
    sendgrid.send(make_email())

    assert [record["copy"] for record in doubles.received()] == [1, 2]


def test_email_that_sendgrid_rejects_has_an_error_with_the_field(
    make_simulated, make_email, doubles
):
    too_late = int(time.time()) + 73 * 3600
    table: list[tuple[dict[str, Any], str]] = [
        ({"subject": None}, "subject: Field required"),
        ({"subject": ""}, "subject: String should have at least 1 character"),
        ({"body": ""}, "content: Field required"),
        ({"metadata": {"categories": ["a", "a"]}}, "categories: The categories must be"),
        ({"metadata": {"categories": ["é"]}}, "categories.0: String should match"),
        ({"metadata": {"categories": ["x" * 256]}}, "categories.0: String should have"),
        ({"metadata": {"send_at": too_late}}, "send_at: Scheduling more"),
        ({"headers": {"X A": "1"}}, "headers.X A.[key]: Header keys cannot"),
        ({"headers": {"Message-ID ": "1"}}, "headers.Message-ID .[key]: Header keys cannot"),
        ({"cc": tuple(f"a{n}@example.org" for n in range(1000))}, "There is a limit of 1000"),
    ]
    sendgrid = make_simulated()
    failures = []
    for fields, detail in table:
        error = outcome(sendgrid, make_email(**fields))
        if type(error) is not Rejected or error.code != "400" or detail not in error.detail:
            failures.append((fields, error))
    assert not failures
    assert doubles.received() == []


def test_agent_is_paused_for_its_own_sender_but_not_for_that_of_a_message(
    make_simulated, make_email
):
    other_key = {"api_key": "SG.other"}
    table: list[tuple[dict[str, Any], dict[str, Any], type, str]] = [
        # message, settings, error
        ({}, other_key, Misconfigured, "401"),
        ({}, {"sender": "shop@other.example"}, Misconfigured, "403"),
        ({"sender": "eve@other.example"}, {}, Rejected, "sender_not_verified"),
        ({"sender": "eve@other.example"}, other_key, Misconfigured, "401"),
    ]
    failures = []
    for message, settings, kind, code in table:
        error = outcome(make_simulated(**settings), make_email(**message))
        if (type(error), error.code) != (kind, code):
            failures.append((message, settings, error))
    assert not failures


def test_wrong_base_url_is_misconfigured(make_simulated, make_email, doubles):
    sendgrid = make_simulated(base_url=f"{doubles.http_url}/sendgrid/v4")

    with pytest.raises(Misconfigured, match="404: Not Found"):
        sendgrid.send(make_email())
