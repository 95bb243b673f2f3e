import base64
import json
import time
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from typing import Any

import pytest
from pydantic import ValidationError

from connectors.base import Attachment, Misconfigured, Rejected, Unavailable, Uncertain
from connectors.sendgrid import connector as sendgrid
from connectors.sendgrid import errors
from connectors.sendgrid.connector import SendGrid, SendGridSettings
from sandbox.client import RunningSandbox
from tests.doubles.client import running_doubles
from tests.doubles.sendgrid import API_KEY

KEY = "SG.k3y-of-ours"
UID = "0190f3c2-7a30-7e52-a0cd-6a3c5d0b2f11"


@pytest.fixture(scope="module")
def sandbox_process() -> Iterator[RunningSandbox]:
    with running_doubles() as sandbox:
        yield sandbox


@pytest.fixture
def sandbox(sandbox_process: RunningSandbox) -> RunningSandbox:
    sandbox_process.clear()
    return sandbox_process


@pytest.fixture
def make_sendgrid() -> Iterator[Callable[..., SendGrid]]:
    made: list[SendGrid] = []

    def make(base_url: str, **settings: Any) -> SendGrid:
        given = {
            "base_url": base_url,
            "api_key": KEY,
            "sender": "Shop <shop@example.com>",
            "allow_networks": ["loopback"],
            **settings,
        }
        made.append(SendGrid(SendGridSettings(**given)))
        return made[-1]

    yield make
    for connector in made:
        connector.close()


@pytest.fixture
def simulated(make_sendgrid, sandbox) -> Callable[..., SendGrid]:
    """Connectors of the account that the sandbox plays."""

    def make(**settings: Any) -> SendGrid:
        url = f"{sandbox.http_url}/sendgrid"
        return make_sendgrid(url, **{"api_key": API_KEY, **settings})

    return make


@pytest.fixture
def make_mail(make_message) -> Callable[..., Any]:
    def make(**fields: Any) -> Any:
        mail = {
            "uid": UID,
            "channel": "email",
            "recipient": "ann@example.org",
            "subject": "Your code",
            "body": "It is 4711",
        }
        return make_message(**{**mail, **fields})

    return make


@pytest.fixture
def request_of(make_sendgrid, make_mail, provider) -> Callable[..., Any]:
    """The JSON that goes out for a mail with these fields."""

    def send(settings: dict[str, Any] | None = None, **fields: Any) -> Any:
        provider.answer(202)
        make_sendgrid(provider.url, **(settings or {})).send(make_mail(**fields))
        return json.loads(provider.received[-1].body)

    return send


def test_a_mail_goes_out_as_sendgrid_wants_it(make_sendgrid, make_mail, provider):
    provider.answer(202, X_Message_Id="14c5d75ce93")

    accepted = make_sendgrid(provider.url + "/").send(make_mail())

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


def test_the_simulator_takes_everything_that_a_mail_can_have(simulated, make_mail, sandbox):
    accepted = simulated().send(
        make_mail(
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

    [record] = sandbox.received(kind="sendgrid")
    assert accepted.provider_message_id == record["message_id"]
    assert record["personalizations"] == [
        {
            "to": [{"email": "ann@example.org", "name": '"Ann, née Ö"'}],
            "cc": [{"email": "bob@xn--bcher-kva.example", "name": ""}],
            "bcc": [{"email": "cy@example.org", "name": "Cy"}],
        }
    ]
    assert record["from"] == {"email": "team@example.com", "name": "Team"}
    assert record["reply_to"] == {"email": "help@example.com", "name": "Help"}
    assert (record["subject"], record["text"], record["html"]) == (
        "Grüße 🙂",
        "Text é",
        "<p>Text é</p>",
    )
    assert record["attachments"] == [
        {"filename": "a_ b_ c.txt", "type": "text/plain", "bytes": 198},
        {"filename": "b.bin", "type": "application/octet-stream", "bytes": 1},
    ]
    assert record["headers"]["List-Unsubscribe"] == "<https://example.com/u>"
    assert record["headers"]["X-Note"].isascii()
    assert record["custom_args"] == {"postroom_uid": UID}
    assert (record["categories"], record["send_at"]) == (["news", "2026"], 1700000000)


def test_in_sandbox_mode_a_mail_is_checked_and_has_no_id(simulated, make_mail, sandbox):
    accepted = simulated(sandbox_mode=True).send(make_mail())

    assert (accepted.provider_message_id, accepted.code) == (None, "200")
    assert sandbox.received()[0]["sandbox_mode"] is True


def test_every_try_of_a_mail_has_the_same_message_id(simulated, make_mail, sandbox):
    connector = simulated()

    connector.send(make_mail())
    connector.send(make_mail())

    assert [record["copy"] for record in sandbox.received()] == [1, 2]


@pytest.mark.parametrize(
    ("fields", "kinds"),
    [
        ({}, ["text/plain"]),
        ({"html": "<p>"}, ["text/plain", "text/html"]),
        ({"body": "", "html": "<p>"}, ["text/html"]),
        ({"html": ""}, ["text/plain"]),
    ],
)
def test_the_texts_go_out_plain_one_first(request_of, fields, kinds):
    assert [part["type"] for part in request_of(**fields)["content"]] == kinds


def test_files_go_out_in_base64_on_one_line(request_of):
    content = bytes(range(256)) * 9

    [file] = request_of(attachments=(Attachment("a.bin", "image/png", content=content),))[
        "attachments"
    ]

    assert base64.b64decode(file.pop("content"), validate=True) == content
    assert file == {"filename": "a.bin", "type": "image/png", "disposition": "attachment"}


def test_a_header_that_is_not_ascii_goes_out_encoded_on_one_line(request_of):
    value = request_of(headers={"X-Note": "Grüße an alle " * 9})["headers"]["X-Note"]

    assert value.startswith("=?utf-8?")
    assert value.isprintable()


@pytest.mark.parametrize(
    ("name", "sent"),
    [
        ("Ann Lee", "Ann Lee"),
        (r'"Lee, Ann"', '"Lee, Ann"'),
        (r'"Lee; \"Ann\""', r'"Lee; \"Ann\""'),
        (r'"Ann \"A\" Lee"', 'Ann "A" Lee'),
    ],
)
def test_a_recipients_name_is_quoted_where_sendgrid_would_cut_it(request_of, name, sent):
    request = request_of(recipient=f"{name} <ann@example.org>", reply_to=f"{name} <a@example.org>")

    assert request["personalizations"][0]["to"] == [{"email": "ann@example.org", "name": sent}]
    assert '"Lee' not in request["reply_to"]["name"]


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({"payload": {"mime": "Subject: x\r\n\r\ny"}}, "payload_not_supported"),
        ({"recipient": "ann"}, "address_invalid"),
        ({"cc": ("a@example.org, b@example.org",)}, "address_invalid"),
        ({"bcc": ("",)}, "address_invalid"),
        ({"reply_to": "x"}, "address_invalid"),
        ({"sender": "x"}, "address_invalid"),
        ({"headers": {"X-A": "1", "X-SG-EID": "1"}}, "header_not_allowed"),
        ({"headers": {"Content-Type": "text/html"}}, "header_not_allowed"),
        ({"headers": {"bCC": "eve@example.org"}}, "header_not_allowed"),
        ({"headers": {"Message-Id": "<1@example.org>"}}, "header_not_allowed"),
        ({"metadata": {"categories": "news"}}, "metadata_invalid"),
        ({"metadata": {"categories": [1]}}, "metadata_invalid"),
        ({"metadata": {"categories": [str(n) for n in range(11)]}}, "metadata_invalid"),
        ({"metadata": {"send_at": "2026-11-22T14:00:00Z"}}, "metadata_invalid"),
        ({"metadata": {"send_at": True}}, "metadata_invalid"),
        ({"attachments": (Attachment("a", "text/plain"),)}, "attachment_without_content"),
    ],
)
def test_what_sendgrid_cannot_take_is_refused_before_it_is_sent(
    make_sendgrid, make_mail, provider, fields, code
):
    with pytest.raises(Rejected) as raised:
        make_sendgrid(provider.url).send(make_mail(**fields))

    assert raised.value.code == code
    assert provider.received == []


def test_a_mail_without_any_sender_is_refused(make_sendgrid, make_mail, provider):
    with pytest.raises(Rejected, match="sender_missing"):
        make_sendgrid(provider.url, sender=None).send(make_mail())


def test_the_size_is_counted_as_it_goes_over_the_wire(
    make_sendgrid, make_mail, provider, monkeypatch
):
    provider.answer(202)
    connector = make_sendgrid(provider.url)
    mail = make_mail(body="é", attachments=(Attachment("a", "image/png", content=b"x" * 999),))
    connector.send(mail)
    size = len(provider.received[0].body)

    monkeypatch.setattr(sendgrid, "MAX_REQUEST_BYTES", size)
    connector.send(mail)
    monkeypatch.setattr(sendgrid, "MAX_REQUEST_BYTES", size - 1)
    with pytest.raises(Rejected, match=f"too_large: {size} bytes .* maximum is {size - 1}"):
        connector.send(mail)

    assert size > 999 * 4 / 3
    assert len(provider.received) == 2


def test_the_largest_mail_is_30_mb():
    assert sendgrid.MAX_REQUEST_BYTES == 31_457_280


@pytest.mark.parametrize(
    ("fields", "settings", "detail"),
    [
        ({"subject": None}, {}, "subject: Field required"),
        ({"subject": ""}, {}, "subject: String should have at least 1 character"),
        ({"body": ""}, {}, "content: Field required"),
        ({"metadata": {"categories": ["a", "a"]}}, {}, "categories: The categories must be"),
        ({"metadata": {"categories": ["é"]}}, {}, "categories.0: String should match"),
        ({"metadata": {"categories": ["x" * 256]}}, {}, "categories.0: String should have"),
        ({"metadata": {"send_at": int(time.time()) + 73 * 3600}}, {}, "send_at: Scheduling more"),
        ({"headers": {"X A": "1"}}, {}, "headers.X A.[key]: Header keys cannot"),
        ({"headers": {"Message-ID ": "1"}}, {}, "headers.Message-ID .[key]: Header keys cannot"),
        ({"cc": tuple(f"a{n}@example.org" for n in range(1000))}, {}, "There is a limit of 1000"),
    ],
)
def test_what_sendgrid_finds_wrong_is_refused_with_its_field(
    simulated, make_mail, sandbox, fields, settings, detail
):
    with pytest.raises(Rejected) as raised:
        simulated(**settings).send(make_mail(**fields))

    assert raised.value.code == "400"
    assert detail in raised.value.detail
    assert sandbox.received() == []


@pytest.mark.parametrize(
    ("fields", "settings", "outcome", "code"),
    [
        ({}, {"api_key": "SG.other"}, Misconfigured, "401"),
        ({}, {"sender": "shop@other.example"}, Misconfigured, "403"),
        ({"sender": "eve@other.example"}, {}, Rejected, "sender_not_verified"),
        ({"sender": "eve@other.example"}, {"api_key": "SG.other"}, Misconfigured, "401"),
    ],
)
def test_a_sender_of_the_message_does_not_stop_the_agent_and_one_of_the_agent_does(
    simulated, make_mail, fields, settings, outcome, code
):
    with pytest.raises(outcome) as raised:
        simulated(**settings).send(make_mail(**fields))

    assert raised.value.code == code


def test_an_address_below_the_api_is_misconfigured(make_sendgrid, make_mail, sandbox):
    with pytest.raises(Misconfigured, match="404: Not Found"):
        make_sendgrid(f"{sandbox.http_url}/sendgrid/v4").send(make_mail())


@pytest.mark.parametrize("row", SendGrid.errors, ids=lambda row: row.code)
def test_every_row_of_the_error_table_has_its_outcome(
    make_sendgrid, make_mail, sandbox, provider, row
):
    field = "from" if row.code == "sender_not_verified" else "personalizations.0.to"
    status = 403 if row.code == "sender_not_verified" else int(row.code)
    problem = {"message": "said why", "field": field, "help": None}
    provider.answer(status, json.dumps({"errors": [problem]}).encode())

    with pytest.raises(row.outcome) as raised:
        make_sendgrid(provider.url).send(make_mail(sender="x@example.com"))

    assert (raised.value.code, raised.value.detail) == (row.code, f"{field}: said why")


def test_the_outcomes_are_those_of_sendgrids_documentation():
    assert {row.code: row.outcome for row in SendGrid.errors} == {
        "400": Rejected,
        "401": Misconfigured,
        "403": Misconfigured,
        "sender_not_verified": Rejected,
        "404": Misconfigured,
        "405": Misconfigured,
        "406": Misconfigured,
        "413": Rejected,
        "415": Rejected,
        "429": Unavailable,
        "500": Uncertain,
        "502": Unavailable,
        "503": Unavailable,
        "504": Uncertain,
    }


@pytest.mark.parametrize(
    ("status", "body", "outcome", "detail"),
    [
        (413, b"<h1>413 Too Large</h1>", Rejected, "<h1>413 Too Large</h1>"),
        (400, b'{"errors": [{"message": "a", "field": null}, 1, {}]}', Rejected, "a;"),
        (400, b'{"errors": []}', Rejected, '{"errors": []}'),
        (400, b'{"errors": {"a": 1}}', Rejected, '{"errors": {"a": 1}}'),
        (400, b"[1]", Rejected, "[1]"),
        (418, b'{"errors": [{"message": "tea", "field": "x"}]}', Rejected, "x: tea"),
        (522, b"", Unavailable, ""),
        (302, b"", Misconfigured, ""),
        (204, b"", Rejected, "unexpected status"),
    ],
)
def test_any_other_reply_is_no_success(
    make_sendgrid, make_mail, provider, status, body, outcome, detail
):
    provider.answer(status, body)

    with pytest.raises(outcome) as raised:
        make_sendgrid(provider.url).send(make_mail())

    assert (raised.value.code, raised.value.detail) == (str(status), detail)


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"X_RateLimit_Reset": "1700000061"}, 60),
        ({"X_RateLimit_Reset": "1699999999"}, None),
        ({"X_RateLimit_Reset": "99999999999"}, 86400),
        ({"X_RateLimit_Reset": "soon", "Retry_After": "7"}, 7),
        ({"Retry_After": "7"}, 7),
        ({}, None),
    ],
)
def test_too_many_requests_wait_until_the_reset(
    make_sendgrid, make_mail, provider, monkeypatch, headers, seconds
):
    class Clock(datetime):
        @classmethod
        def now(cls, tz: Any = None) -> datetime:
            return datetime.fromtimestamp(1700000001.25, tz)

    monkeypatch.setattr(errors, "datetime", Clock)
    provider.answer(429, b'{"errors":[{"field":null,"message":"too many requests"}]}', **headers)

    with pytest.raises(Unavailable) as raised:
        make_sendgrid(provider.url).send(make_mail())

    assert raised.value.detail == "too many requests"
    assert raised.value.retry_after == (None if seconds is None else timedelta(seconds=seconds))


@pytest.mark.parametrize("misbehaviour", ["hang", "reset"])
def test_a_request_without_an_answer_leaves_the_mail_uncertain(
    make_sendgrid, make_mail, provider, tight_limits, misbehaviour
):
    getattr(provider, misbehaviour)()

    with pytest.raises(Uncertain):
        make_sendgrid(provider.url, **tight_limits).send(make_mail())
    assert len(provider.received) == 1


@pytest.mark.parametrize("status", [400, 401, 403, 418, 429, 500])
def test_neither_key_nor_recipient_nor_content_is_in_an_error(
    make_sendgrid, make_mail, provider, status
):
    said = f"{KEY} ann@example.org Ann bob@xn--bcher-kva.example It is 4711 Your code <p>x</p>"
    provider.answer(status, json.dumps({"errors": [{"message": said}]}).encode())

    mail = make_mail(
        recipient="Ann <ann@example.org>", bcc=("bob@bücher.example",), html="<p>x</p>"
    )

    with pytest.raises((Rejected, Misconfigured, Unavailable, Uncertain)) as raised:
        make_sendgrid(provider.url).send(mail)

    assert raised.value.detail == " ".join(["***"] * 7)


def test_a_long_text_does_not_hold_up_an_error(make_sendgrid, make_mail, provider):
    provider.answer(400, b'{"errors": [{"message": "no"}]}')

    with pytest.raises(Rejected, match="400: no"):
        make_sendgrid(provider.url).send(make_mail(body="é" * 10_000_000))


@pytest.mark.parametrize(
    ("headers", "message_id"),
    [({}, None), ({"X_Message_Id": ""}, None), ({"X_Message_Id": "x" * 999}, "x" * 255)],
)
def test_an_acceptance_without_a_usable_id_is_an_acceptance(
    make_sendgrid, make_mail, provider, headers, message_id
):
    provider.answer(202, b"anything", **headers)

    assert make_sendgrid(provider.url).send(make_mail()).provider_message_id == message_id


@pytest.mark.parametrize(
    ("settings", "key"),
    [
        ({}, "api_key"),
        ({"api_key": ""}, "api_key"),
        ({"api_key": "SG.s3cret\n"}, "api_key"),
        ({"api_key": "SG.k", "base_url": "https://u:s3cret@host"}, "base_url"),
        ({"api_key": "SG.k", "base_url": "https://host?a"}, "base_url"),
        ({"api_key": "SG.k", "sender": "a@b, c@d"}, "sender"),
    ],
)
def test_bad_settings_are_refused_by_name_without_showing_secrets(settings, key):
    with pytest.raises(ValidationError, match=key) as raised:
        SendGridSettings(**settings)

    assert "s3cr" not in str(raised.value)


def test_the_key_is_not_shown_with_the_settings():
    assert "SG.k" not in repr(SendGridSettings(api_key="SG.k"))


def test_the_default_address_is_sendgrids_own():
    assert SendGridSettings(api_key="SG.k").base_url == "https://api.sendgrid.com"
