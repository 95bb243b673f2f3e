"""Replies: what the caller leaves open is filled in from the conversation."""

import uuid
from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import Connection

from app.agents import agents
from app.errors import ConflictError, InvalidError
from app.fields import parse
from app.inbound import messages
from app.queries.conversations import get_conversation
from app.submission.replies import validate_reply
from app.submission.schema import ReplyRequest
from app.submission.submission import Submission
from connectors.base import Inbound
from tests.app.outbox.driver import Outbox

ANN, BOB, US = "+4915112345678", "+4915187654321", "+15005550006"
ANN_EMAIL, OUR_EMAIL = "Ann <Ann@example.com>", "hello@example.org"

Receive = Callable[..., int]
Reply = Callable[..., Submission]


@pytest.fixture
def outbox(connection: Connection) -> Outbox:
    return Outbox(connection)


@pytest.fixture
def send(outbox: Outbox) -> Callable[..., int]:
    """Store a message to Ann."""

    def send(**fields: Any) -> int:
        return outbox.one(**{"sender": US, "recipient": ANN, **fields})

    return send


@pytest.fixture
def receive(connection: Connection) -> Receive:
    """Store a message from Ann."""

    def receive(agent: str | None = "gateway", profile: str = "default", **fields: Any) -> int:
        usual = {"channel": "sms", "sender": ANN, "recipient": US, "key": str(uuid.uuid4())}
        message = Inbound(**{"body": "Hello", **usual, **fields})
        return messages.store(connection, agent, message, profile).id

    return receive


@pytest.fixture
def receive_email(receive: Receive) -> Receive:
    """Store an e-mail from Ann."""

    def receive_email(**fields: Any) -> int:
        usual = {"channel": "email", "sender": ANN_EMAIL, "recipient": OUR_EMAIL}
        return receive("smtp", **{**usual, **fields})

    return receive_email


@pytest.fixture
def reply(connection: Connection) -> Reply:
    """Validate a reply in the first conversation."""

    def reply(**fields: Any) -> Submission:
        conversation = get_conversation(connection, 1)
        request = parse(ReplyRequest, {"body": "Hello Ann", **fields})
        return validate_reply(connection, conversation, request)

    return reply


def test_reply_goes_back_the_way_the_message_came(receive: Receive, reply: Reply) -> None:
    receive()
    submission = reply(reference="t-7")
    assert (submission.recipient, submission.sender) == (ANN, US)
    assert (submission.channel, submission.agent) == ("sms", "gateway")
    assert (submission.body, submission.reference) == ("Hello Ann", "t-7")


def test_without_an_answer_a_reply_follows_what_was_sent(send: Receive, reply: Reply) -> None:
    send()
    submission = reply()
    assert (submission.recipient, submission.sender, submission.agent) == (ANN, US, "gateway")


def test_conversation_without_a_sender_continues_without_one(outbox: Outbox, reply: Reply) -> None:
    outbox.one(channel="push", agent="api", recipient="token", sender=None)
    outbox.insert(
        channel="push", agent="api", recipient="api", sender="token", direction="inbound",
        status="received", conversation_id=1,
    )  # fmt: skip
    submission = reply()
    assert (submission.channel, submission.recipient, submission.sender) == ("push", "token", None)


def test_if_the_receiving_agent_cannot_send_another_is_chosen(
    send: Receive, receive: Receive, reply: Reply
) -> None:
    send()
    for agent in (None, "gone", "smtp"):
        receive(agent)
        assert reply().agent == "gateway", agent


def test_reply_with_attachments_is_an_mms(receive: Receive, reply: Reply) -> None:
    receive()
    assert reply(attachments=["https://example.com/a.png"]).channel == "mms"
    receive(channel="mms")
    assert reply().channel == "sms"
    assert reply(type="mms").channel == "mms"


def test_reply_to_an_email_stays_in_its_thread(receive_email: Receive, reply: Reply) -> None:
    receive_email(
        subject="Order\t4711",
        provider_message_id="<b@example.com>",
        headers={"Message-ID": "<b@example.com>", "References": "<a@example.org> junk <b@x"},
    )
    submission = reply(html="<p>Hello Ann</p>")
    assert (submission.recipient, submission.sender) == ("Ann <Ann@example.com>", OUR_EMAIL)
    assert (submission.subject, submission.agent) == ("Re: Order 4711", "smtp")
    assert submission.headers == {
        "In-Reply-To": "<b@example.com>",
        "References": "<a@example.org> <b@example.com>",
    }


def test_subject_of_a_reply_is_that_of_the_message(receive_email: Receive, reply: Reply) -> None:
    rows: list[tuple[str | None, dict[str, Any], str | None]] = [
        ("Order", {}, "Re: Order"),
        ("RE: Order", {}, "RE: Order"),
        (None, {}, None),
        ("\n", {}, None),
        ("x" * 2000, {}, "Re: " + "x" * 994),
        ("a\r\nBcc: b", {}, "Re: a Bcc: b"),
        ("Order", {"subject": "Other"}, "Other"),
        ("Order", {"subject": None}, "Re: Order"),
        ("Order", {"subject": ""}, ""),
    ]
    failures = []
    for subject, given, expected in rows:
        receive_email(subject=subject)
        if (found := reply(**given).subject) != expected:
            failures.append((subject, given, found))
    assert not failures


def test_thread_headers_come_from_whatever_identifies_the_message(
    receive_email: Receive, reply: Reply
) -> None:
    thread = {"In-Reply-To": "<b@x.org>", "References": "<b@x.org>"}
    rows: list[tuple[dict[str, Any], dict[str, str]]] = [
        ({"provider_message_id": "<b@x.org>"}, thread),
        ({"provider_message_id": "b@x.org"}, thread),
        ({"headers": {"message-id": " <b@x.org>\r\n"}}, thread),
        (
            {"headers": {"Message-Id": "<b@x.org>", "In-Reply-To": "<a@x.org>"}},
            thread | {"References": "<a@x.org> <b@x.org>"},
        ),
        ({"provider_message_id": "message-3"}, {}),
        ({"headers": {"Message-ID": "<b\r\nBcc: x@y.zz>"}}, {}),
        ({}, {}),
    ]
    failures = []
    for fields, expected in rows:
        receive_email(**fields)
        if (found := reply().headers) != expected:
            failures.append((fields, found))
    assert not failures


def test_long_thread_keeps_its_first_and_its_last_messages(
    receive_email: Receive, reply: Reply
) -> None:
    ids = [f"<{number:0200}@example.com>" for number in range(9)]
    receive_email(headers={"Message-ID": ids[-1], "References": " ".join(ids[:-1])})
    assert reply().headers["References"].split() == [ids[0], *ids[-3:]]


def test_given_thread_headers_are_not_replaced(receive_email: Receive, reply: Reply) -> None:
    receive_email(provider_message_id="<b@x.org>")
    submission = reply(headers={"in-reply-to": "<a@x.org>", "X-A": "b"})
    assert submission.headers == {
        "References": "<b@x.org>", "in-reply-to": "<a@x.org>", "X-A": "b",
    }  # fmt: skip


def test_reply_uses_the_display_name_that_was_used_before(
    send: Receive, receive_email: Receive, reply: Reply
) -> None:
    send(channel="email", agent="smtp", recipient=ANN_EMAIL, sender=f"Shop <{OUR_EMAIL}>")
    receive_email()
    assert reply().sender == f"Shop <{OUR_EMAIL}>"


def test_reply_uses_the_profile_of_the_message(
    receive: Receive, reply: Reply, agents_file: Any
) -> None:
    agents_file.write_text(agents_file.read_text() + "[agents.gateway.profiles.second]\n")
    agents.cache_clear()
    receive(profile="second")
    assert reply().profile == "second"
    receive(profile="gone")
    assert reply(agent="gateway", profile="second").profile == "second"


def test_given_fields_are_used_within_the_conversation(
    receive_email: Receive, reply: Reply
) -> None:
    receive_email()
    submission = reply(to="Miss Ann <ann@EXAMPLE.com>", **{"from": f"Shop <{OUR_EMAIL}>"})
    assert submission.recipient == "Miss Ann <ann@example.com>"
    assert submission.sender == f"Shop <{OUR_EMAIL}>"


def test_invalid_replies_are_rejected_with_their_field(receive: Receive, reply: Reply) -> None:
    rows: list[tuple[dict[str, Any], str]] = [
        ({"to": BOB}, "to"),
        ({"to": US}, "from"),
        ({"from": BOB}, "from"),
        ({"from": ANN}, "from"),
        ({"channel": "http"}, "channel"),
        ({"channel": "fax"}, "channel"),
        ({"agent": "smtp"}, "agent"),
        ({"profile": "none"}, "profile"),
        ({"profile": None}, "profile"),
        ({"html": "hi"}, "html"),
        ({"headers": None}, "headers"),
        ({"colour": "red"}, "colour"),
        ({"body": ""}, "body"),
    ]
    receive()
    failures = []
    for fields, field in rows:
        with pytest.raises(InvalidError) as caught:
            reply(**fields)
        if [error.field for error in caught.value.errors] != [field]:
            failures.append((fields, caught.value.errors))
    assert not failures


def test_sender_without_an_address_cannot_be_replied_to(receive: Receive, reply: Reply) -> None:
    receive(sender="MyBank")
    with pytest.raises(ConflictError, match="The last message came from MyBank: "):
        reply()


def test_conversation_without_messages_cannot_be_replied_to(
    receive: Receive, reply: Reply, outbox: Outbox
) -> None:
    receive()
    outbox.execute("DELETE FROM messages")
    with pytest.raises(ConflictError, match="deleted"):
        reply()
