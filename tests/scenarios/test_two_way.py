"""Conversations with people, over providers that call webhooks."""

from email.message import EmailMessage
from itertools import count
from typing import Any

import pytest

from tests.postroom import until
from tests.scenarios.caller import Caller

US, SHOP = "+15005550006", "shop@example.com"
numbers = count(2000)


# RFC 3464, with the headers of the returned mail.
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
    """A phone number of a person, for this test only."""
    return f"+1415555{next(numbers)}"


def receive_sms(caller: Caller, sender: str, body: str, **more: str) -> None:
    """Simulate an inbound SMS."""
    url = f"{caller.postroom.url}/api/webhooks/twilio/inbound"
    caller.simulate("POST", "/twilio/_inbound", url=url, From=sender, To=US, Body=body, **more)


def receive_mail(caller: Caller, mime: str, sender: str) -> None:
    """Simulate an inbound mail; `sender` is the envelope sender."""
    envelope = {"from": sender, "to": [SHOP]}
    caller.simulate("POST", "/sendgrid/_inbound", mime=mime, envelope=envelope, raw=True)


def await_messages(caller: Caller, conversation: int, count: int) -> list[Any]:
    until(
        lambda: len(caller.conversation(conversation)) >= count,
        f"conversation {conversation} has {count} messages",
        seconds=60,
    )
    return caller.conversation(conversation)


def kinds(message: Any) -> list[str]:
    return [receipt["kind"] for receipt in message["receipts"]]


def test_sms_conversation_keeps_its_order_and_its_agent(caller: Caller, ann: str) -> None:
    number = caller.submit(channel="sms", agent="twilio", to=ann, body="Is Monday fine?")
    message = caller.await_status(number, "delivered")
    assert kinds(message) == ["queued", "sent", "delivered"]
    conversation = message["conversation_id"]

    receive_sms(caller, ann, "Rather Tuesday")
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
    message = caller.await_status(reply["id"], "delivered")
    assert (message["agent"], message["from"], message["to"]) == ("twilio", US, ann)
    texts = [(one["direction"], one["body"]) for one in caller.conversation(conversation)]
    assert texts == [
        ("outbound", "Is Monday fine?"),
        ("inbound", "Rather Tuesday"),
        ("outbound", "Tuesday it is"),
    ]
    received = caller.sandbox.received(kind="twilio", to=ann)
    assert [one["content"] for one in received] == ["Is Monday fine?", "Tuesday it is"]


def test_repeated_inbound_webhook_is_stored_once(caller: Caller, ann: str) -> None:
    number = caller.submit(channel="sms", agent="twilio", to=ann, body="hello")
    conversation = caller.message(number)["conversation_id"]
    sid = "SM" + "1" * 32
    receive_sms(caller, ann, "once", MessageSid=sid)
    receive_sms(caller, ann, "once", MessageSid=sid)
    receive_sms(caller, ann, "the last one")
    # The webhook calls may overtake each other.
    found = await_messages(caller, conversation, 3)
    caller.await_status(number, "delivered")
    assert sorted(one["body"] for one in found) == ["hello", "once", "the last one"]


def test_stop_suppresses_a_number_until_start(caller: Caller, ann: str) -> None:
    message = {"channel": "sms", "agent": "twilio", "to": ann, "body": "Our offers"}
    number = caller.submit(**message)
    caller.await_status(number, "delivered")
    receive_sms(caller, ann, " stop ")
    until(lambda: caller.suppression(ann) == "opt_out", "the number is suppressed")
    problem = caller.call("POST", "/api/messages", 422, json=message)
    assert [error["field"] for error in problem["errors"]] == ["to"]
    assert len(caller.sandbox.received(kind="twilio", to=ann)) == 1

    receive_sms(caller, ann, "START")
    until(lambda: caller.suppression(ann) is None, "the number is no longer suppressed")
    caller.await_status(caller.submit(**message), "delivered")


def test_undelivered_sms_is_bounced_and_unknown_numbers_are_suppressed(caller: Caller) -> None:
    for to, code, suppressed in [
        ("+15005553003", "30003", None),
        ("+15005553005", "30005", "hard_bounce"),
    ]:
        number = caller.submit(channel="sms", agent="twilio", to=to, body="hello")
        message = caller.await_status(number, "bounced")
        assert (message["error_code"], kinds(message)) == (code, ["queued", "sent", "bounced"])
        assert caller.suppression(to) == suppressed


def test_mail_conversation_with_attachment_ends_with_a_bounce(caller: Caller) -> None:
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
    receive_mail(caller, answer.as_string(), ben)
    [_, came] = await_messages(caller, conversation, 2)
    assert (came["direction"], came["body"].strip()) == ("inbound", "When can I come?")
    assert [file["filename"] for file in came["attachments"]] == ["receipt.txt"]
    assert came["parent_id"] == number
    assert [one["id"] for one in caller.message(number)["replies"]] == [came["id"]]

    path = f"/api/conversations/{conversation}/messages"
    reply = caller.call("POST", path, 202, json={"body": "Until six."})["id"]
    message = caller.await_status(reply, "delivered")
    assert (message["to"], message["subject"]) == (f"Ben <{ben}>", "Re: Your order")
    [_, second] = caller.sandbox.received(kind="sendgrid", to=ben)
    assert second["headers"]["In-Reply-To"] == "<answer-1@example.org>"

    # The recipient's server accepts the mail and returns it days later.
    message_id = second["headers"]["Message-ID"]
    receive_mail(caller, DELIVERY_REPORT.format(to=ben, message_id=message_id), "")
    bounced = caller.await_status(reply, "bounced")
    assert kinds(bounced)[-1] == "bounced"
    assert bounced["error_code"] == "5.1.1"
    assert caller.suppression(ben) == "hard_bounce"
    assert len(caller.conversation(conversation)) == 3, "a delivery report is not a message"
    assert caller.message(number)["status"] == "delivered", "the first mail was delivered"
    caller.call("POST", path, 422, json={"body": "Are you there?"})


def test_mail_events_set_the_status_and_suppress_addresses(caller: Caller) -> None:
    cases = [
        ("bounce", "bounced", "bounced", "hard_bounce"),
        ("blocked", "bounced", "bounced", None),
        ("dropped", "failed", "failed", None),
        ("spamreport", "delivered", "complained", "complaint"),
        ("unsubscribe", "delivered", "unsubscribed", "opt_out"),
        ("engaged", "delivered", "clicked", None),
    ]
    mail = {"channel": "email", "agent": "sendgrid", "subject": "Hi", "body": "hello"}
    numbers = {case: caller.submit(to=f"{case[0]}@example.org", **mail) for case in cases}
    failures = []
    for (mailbox, status, last, suppressed), number in numbers.items():
        until(
            lambda number=number, last=last: last in kinds(caller.message(number)),
            f"{last} is reported",
        )
        found = caller.await_status(number, status)["status"]
        reason = caller.suppression(f"{mailbox}@example.org")
        if (found, reason) != (status, suppressed):
            failures.append((mailbox, found, reason))

    assert not failures
