"""Conversations with people, by providers that call back by themselves."""

from email.message import EmailMessage
from itertools import count
from typing import Any

import pytest

from tests.postroom import until
from tests.scenarios import providers
from tests.scenarios.caller import Caller

AGENTS = providers.AGENTS
US, SHOP = "+15005550006", "shop@example.com"
numbers = count(2000)


# As in RFC 3464, with the headers of the mail that came back.
DELIVERY_REPORT = """\
From: MAILER-DAEMON@mx.example.org
To: shop@example.com
Subject: Undelivered Mail Returned to Sender
Message-ID: <report-1@mx.example.org>
MIME-Version: 1.0
Content-Type: multipart/report; report-type=delivery-status; boundary="b1"

--b1
Content-Type: text/plain

I could not deliver your message.

--b1
Content-Type: message/delivery-status

Reporting-MTA: dns; mx.example.org

Final-Recipient: rfc822; {to}
Action: failed
Status: 5.1.1
Diagnostic-Code: smtp; 550 5.1.1 no such user

--b1
Content-Type: text/rfc822-headers

Message-ID: {message_id}
Subject: Re: Your order

--b1--
"""


@pytest.fixture
def ann() -> str:
    """A number of her own for each test."""
    return f"+1415555{next(numbers)}"


@pytest.fixture(scope="module", autouse=True)
def mail_webhooks(caller: Caller) -> None:
    webhooks = f"{caller.postroom.url}/api/webhooks/sendgrid"
    caller.play(
        "PUT", "/sendgrid/_webhook", url=f"{webhooks}/status", inbound_url=f"{webhooks}/inbound"
    )


def text_us(caller: Caller, sender: str, body: str, **more: str) -> None:
    """Somebody writes an SMS to us."""
    url = f"{caller.postroom.url}/api/webhooks/twilio/inbound"
    caller.play("POST", "/twilio/_inbound", url=url, From=sender, To=US, Body=body, **more)


def mail_us(caller: Caller, mime: str, sender: str) -> None:
    """A mail comes in; `sender` is that of the envelope."""
    envelope = {"from": sender, "to": [SHOP]}
    caller.play("POST", "/sendgrid/_inbound", mime=mime, envelope=envelope, raw=True)


def await_messages(caller: Caller, conversation: int, count: int) -> list[Any]:
    until(
        lambda: len(caller.conversation(conversation)) >= count,
        f"conversation {conversation} has {count} messages",
        seconds=60,
    )
    return caller.conversation(conversation)


def kinds(story: Any) -> list[str]:
    return [receipt["kind"] for receipt in story["receipts"]]


def test_two_people_text_each_other(caller: Caller, ann: str) -> None:
    number = caller.submit(channel="sms", agent="twilio", to=ann, body="Is Monday fine?")
    story = caller.await_status(number, "delivered")
    assert kinds(story) == ["queued", "sent", "delivered"]
    conversation = story["conversation_id"]

    text_us(caller, ann, "Rather Tuesday")
    [_, answer] = await_messages(caller, conversation, 2)
    assert (answer["direction"], answer["from"], answer["to"], answer["body"]) == (
        "inbound",
        ann,
        US,
        "Rather Tuesday",
    )
    [listed] = caller.call("GET", "/api/conversations", params={"participant": ann})[
        "conversations"
    ]
    assert (listed["id"], listed["message_count"], listed["unread_count"]) == (conversation, 2, 1)

    path = f"/api/conversations/{conversation}"
    assert caller.call("POST", f"{path}/read")["unread_count"] == 0
    reply = caller.call("POST", f"{path}/messages", 202, json={"body": "Tuesday it is"})
    story = caller.await_status(reply["id"], "delivered")
    assert (story["agent"], story["from"], story["to"]) == ("twilio", US, ann)
    texts = [(one["direction"], one["body"]) for one in caller.conversation(conversation)]
    assert texts == [
        ("outbound", "Is Monday fine?"),
        ("inbound", "Rather Tuesday"),
        ("outbound", "Tuesday it is"),
    ]
    received = caller.sandbox.received(kind="twilio", to=ann)
    assert [one["content"] for one in received] == ["Is Monday fine?", "Tuesday it is"]


def test_a_message_that_the_provider_repeats_is_there_once(caller: Caller, ann: str) -> None:
    number = caller.submit(channel="sms", agent="twilio", to=ann, body="hello")
    conversation = caller.message(number)["conversation_id"]
    sid = "SM" + "1" * 32
    text_us(caller, ann, "once", MessageSid=sid)
    text_us(caller, ann, "once", MessageSid=sid)
    text_us(caller, ann, "and no more")
    # The calls of the sandbox may overtake each other.
    found = await_messages(caller, conversation, 3)
    caller.await_status(number, "delivered")
    assert sorted(one["body"] for one in found) == ["and no more", "hello", "once"]


def test_stop_is_obeyed_until_start(caller: Caller, ann: str) -> None:
    message = {"channel": "sms", "agent": "twilio", "to": ann, "body": "Our offers"}
    number = caller.submit(**message)
    caller.await_status(number, "delivered")
    text_us(caller, ann, " stop ")
    until(lambda: caller.suppression(ann) == "opt_out", "Ann is not written to any more")
    problem = caller.call("POST", "/api/messages", 422, json=message)
    assert [error["field"] for error in problem["errors"]] == ["to"]
    assert len(caller.sandbox.received(kind="twilio", to=ann)) == 1

    text_us(caller, ann, "START")
    until(lambda: caller.suppression(ann) is None, "Ann may be written to again")
    caller.await_status(caller.submit(**message), "delivered")


@pytest.mark.parametrize(
    ("to", "code", "suppressed"),
    [("+15005553003", "30003", None), ("+15005553005", "30005", "hard_bounce")],
)
def test_a_text_that_never_arrives_is_bounced(
    caller: Caller, to: str, code: str, suppressed: str | None
) -> None:
    number = caller.submit(channel="sms", agent="twilio", to=to, body="hello")
    story = caller.await_status(number, "bounced")
    assert (story["error_code"], kinds(story)) == (code, ["queued", "sent", "bounced"])
    assert caller.suppression(to) == suppressed


def test_an_exchange_of_mail_ends_with_a_bounce(caller: Caller) -> None:
    ben = "ben@example.org"
    number = caller.submit(
        channel="email", agent="sendgrid", to=f"Ben <{ben}>", subject="Your order", body="Ready."
    )
    sent = caller.await_status(number, "delivered")
    conversation = sent["conversation_id"]
    [first] = caller.sandbox.received(kind="sendgrid", to=ben)

    answer = EmailMessage()
    answer["From"], answer["To"], answer["Subject"] = f"Ben <{ben}>", SHOP, "Re: Your order"
    answer["Message-ID"] = "<answer-1@example.org>"
    answer["In-Reply-To"] = first["headers"]["Message-ID"]
    answer.set_content("When can I come?\n")
    answer.add_attachment("the receipt", filename="receipt.txt")
    mail_us(caller, answer.as_string(), ben)
    [_, came] = await_messages(caller, conversation, 2)
    assert (came["direction"], came["body"].strip()) == ("inbound", "When can I come?")
    assert [file["filename"] for file in came["attachments"]] == ["receipt.txt"]
    assert came["parent_id"] == number
    assert [one["id"] for one in caller.message(number)["replies"]] == [came["id"]]

    path = f"/api/conversations/{conversation}/messages"
    reply = caller.call("POST", path, 202, json={"body": "Until six."})["id"]
    story = caller.await_status(reply, "delivered")
    assert (story["to"], story["subject"]) == (f"Ben <{ben}>", "Re: Your order")
    [_, second] = caller.sandbox.received(kind="sendgrid", to=ben)
    assert second["headers"]["In-Reply-To"] == "<answer-1@example.org>"

    # Days after its server had taken the mail, it gives it back.
    message_id = second["headers"]["Message-ID"]
    mail_us(caller, DELIVERY_REPORT.format(to=ben, message_id=message_id), "")
    bounced = caller.await_status(reply, "bounced")
    assert kinds(bounced)[-1] == "bounced"
    assert bounced["error_code"] == "5.1.1"
    assert caller.suppression(ben) == "hard_bounce"
    assert len(caller.conversation(conversation)) == 3, "a report is no letter"
    assert caller.message(number)["status"] == "delivered", "the first mail did arrive"
    caller.call("POST", path, 422, json={"body": "Are you there?"})


@pytest.mark.parametrize(
    ("mailbox", "status", "last", "suppressed"),
    [
        ("bounce", "bounced", "bounced", "hard_bounce"),
        ("blocked", "bounced", "bounced", None),
        ("dropped", "failed", "failed", None),
        ("spamreport", "delivered", "complained", "complaint"),
        ("unsubscribe", "delivered", "unsubscribed", "opt_out"),
        ("engaged", "delivered", "clicked", None),
    ],
)
def test_what_becomes_of_a_mail_is_told_by_events(
    caller: Caller, mailbox: str, status: str, last: str, suppressed: str | None
) -> None:
    to = f"{mailbox}@example.org"
    number = caller.submit(channel="email", agent="sendgrid", to=to, subject="Hi", body="hello")
    until(lambda: last in kinds(caller.message(number)), f"{last} is reported", seconds=60)
    caller.await_status(number, status)
    assert caller.suppression(to) == suppressed
