"""Validation of submitted messages."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from app.agents import Agents
from app.errors import FieldError, InvalidError
from app.fields import parse
from app.submission.schema import EmailRequest, MessageRequest, SmsRequest
from app.submission.submission import Submission
from app.submission.validation import validate
from connectors.base import Channel

SMS = {"from": "+12016661234", "to": "+18045551234", "body": "hi"}
EMAIL = {"from": "user@example.com", "to": "contact@example.org", "body": "hi"}
MODELS: dict[Channel, type[SmsRequest | EmailRequest]] = {"sms": SmsRequest, "email": EmailRequest}


def submit(agents: Agents, default_channel: Channel, /, **fields: Any) -> Submission:
    usual = SMS if default_channel == "sms" else EMAIL
    message = parse(MODELS[default_channel], {**usual, **fields})
    return validate(message, agents, default_channel=default_channel)


def errors_of(agents: Agents, channel: Channel, fields: dict[str, Any]) -> list[FieldError]:
    try:
        submit(agents, channel, **fields)
    except InvalidError as error:
        return error.errors
    return []


def _from_now(**change: float) -> str:
    return (datetime.now(UTC) + timedelta(**change)).isoformat()


def test_invalid_fields_are_rejected_with_a_reason(loaded_agents: Agents) -> None:
    rows: list[tuple[Channel, dict[str, Any], str, str]] = [
        ("sms", {"to": "12345"}, "to", "phone number"),
        ("sms", {"to": "+1"}, "to", "phone number"),
        ("sms", {"to": None}, "to", "valid string"),
        ("sms", {"to": ["+18045551234"]}, "to", "one address"),
        ("sms", {"from": "x" * 129}, "from", "128"),
        ("sms", {"from": "a\nb"}, "from", "CR, LF"),
        ("sms", {"from": "nobody@"}, "from", "phone number"),
        ("sms", {"from": "user@example.com"}, "from", "phone number"),
        ("sms", {"body": "x" * 39_016}, "body", "39015"),
        ("sms", {"type": "mms", "body": "x" * 39_016}, "body", "39015"),
        ("sms", {"send_at": _from_now(days=-2)}, "send_at", "more than a day in the past"),
        ("sms", {"body": ""}, "body", "required"),
        ("sms", {"body": "a\0b"}, "body", "NUL"),
        ("sms", {"body": "\ud800"}, "body", "surrogate"),
        ("sms", {"type": "email"}, "type", "input should be"),
        ("sms", {"type": "mms", "channel": "sms"}, "type", "must equal channel"),
        ("sms", {"html": "<p>"}, "html", "only supported for e-mail"),
        ("sms", {"agent": "nobody"}, "agent", "no such agent"),
        ("sms", {"agent": "smtp"}, "agent", "does not serve sms"),
        ("sms", {"profile": "none"}, "profile", "no such profile"),
        ("sms", {"unknown": 1}, "unknown", "unknown field"),
        ("sms", {"priority": 4}, "priority", "input should be"),
        ("sms", {"priority": "urgent"}, "priority", "input should be"),
        ("sms", {"priority": True}, "priority", "input should be"),
        ("sms", {"send_at": "2026-11-22T14:00:00"}, "send_at", "time zone"),
        ("sms", {"send_at": 1795000000}, "send_at", "date and time"),
        ("sms", {"send_at": "0001-01-01T00:00:00+01:00"}, "send_at", "years"),
        ("sms", {"send_at": _from_now(days=400)}, "send_at", "a year"),
        ("sms", {"expires_at": _from_now(seconds=-1)}, "expires_at", "future"),
        ("sms", {"expires_at": _from_now(days=800)}, "expires_at", "two years"),
        (
            "sms",
            {"send_at": _from_now(days=2), "expires_at": _from_now(days=1)},
            "expires_at",
            "after send_at",
        ),
        ("sms", {"reference": "x" * 256}, "reference", "255"),
        ("sms", {"reference": "a\r"}, "reference", "CR, LF"),
        ("sms", {"metadata": {"a": "\0"}}, "metadata", "NUL"),
        ("sms", {"metadata": []}, "metadata", "object"),
        ("sms", {"payload": {"\ud800": 1}}, "payload", "surrogate"),
        ("email", {"to": "nobody"}, "to", "e-mail address"),
        ("email", {"to": "a@example.org, b@example.org"}, "to", "one address"),
        ("email", {"cc": ["a@example.org", "b"]}, "cc[1]", "e-mail address"),
        ("email", {"bcc": "a@example.org"}, "bcc", "list"),
        ("email", {"reply_to": "x"}, "reply_to", "e-mail address"),
        ("email", {"subject": "a\r\nBcc: x@example.org"}, "subject", "CR, LF"),
        ("email", {"subject": "a\u2028b"}, "subject", "control"),
        ("email", {"subject": "x" * 999}, "subject", "998"),
        ("email", {"headers": {"X-A": "a\nB: c"}}, "headers.X-A", "CR, LF"),
        ("email", {"headers": {"X A": "a"}}, "headers.X A", "pattern"),
        ("email", {"headers": {"BCC": "x@example.org"}}, "headers.BCC", "reserved"),
        ("email", {"headers": {"Content-Type": "x"}}, "headers.Content-Type", "reserved"),
        *[
            ("email", {"headers": {name: "x"}}, f"headers.{name}", "reserved")
            for name in (
                "Sender",
                "Received",
                "Return-Path",
                "DKIM-Signature",
                "Resent-Bcc",
                "resent-to",
                "ARC-Seal",
                "Authentication-Results",
                "Apparently-To",
            )
        ],
    ]
    failures = []
    for channel, fields, field, reason in rows:
        errors = {error.field: error.reason for error in errors_of(loaded_agents, channel, fields)}
        if reason not in errors.get(field, ""):
            failures.append((channel, fields, errors))
    assert not failures


def test_all_invalid_fields_are_reported_at_once(loaded_agents: Agents) -> None:
    fields = {"to": "x", "reply_to": "y", "cc": ["z"], "expires_at": _from_now(days=-1)}
    errors = errors_of(loaded_agents, "email", fields)
    assert {error.field for error in errors} == {"to", "reply_to", "cc[0]", "expires_at"}


def test_channel_is_required_if_the_route_implies_none(loaded_agents: Agents) -> None:
    with pytest.raises(InvalidError) as caught:
        validate(parse(MessageRequest, SMS), loaded_agents)
    assert caught.value.errors == [FieldError("channel", "required")]


def test_each_channel_accepts_the_content_it_can_carry(loaded_agents: Agents) -> None:
    link = "https://example.com/a.png"
    rows: list[dict[str, Any]] = [
        {"channel": "mms", "to": "+18045551234", "attachments": [link]},
        {"channel": "email", "to": "a@example.org", "html": "<p>hi</p>"},
        {"channel": "email", "to": "a@example.org", "payload": {"template": 1}},
        {"channel": "push", "to": "device", "payload": {"a": [1]}},
        {"channel": "payment", "to": "order", "body": "hi"},
        {"channel": "http", "to": "/orders"},
    ]
    for fields in rows:
        validate(parse(MessageRequest, fields), loaded_agents)


def test_phone_senders_may_be_names_and_short_codes(loaded_agents: Agents) -> None:
    for sender in (
        "Postroom",
        "My Shop-24",
        "Müller & Co.",
        "MG" + "0a" * 16,
        "12345",
        "+12016661234",
        "whatsapp:+12016661234",
    ):
        assert submit(loaded_agents, "sms", **{"from": sender}).sender == sender


def test_email_without_a_sender_comes_from_the_sender_of_its_profile(loaded_agents: Agents) -> None:
    by_default = submit(loaded_agents, "email", **{"from": None})
    assert by_default.sender == "Postroom <postroom@example.com>"
    assert submit(loaded_agents, "email", **{"from": "a@b.example"}).sender == "a@b.example"


def test_email_needs_a_sender_if_its_profile_has_none(agents_file: Any, environment: Any) -> None:
    agents_file.write_text(
        agents_file.read_text().replace('sender = "Postroom <postroom@example.com>"', "")
    )
    agents = Agents.load(agents_file)
    [error] = errors_of(agents, "email", {"from": None})
    assert (error.field, error.reason.partition(":")[0]) == ("from", "required")


def test_priorities_may_be_words(loaded_agents: Agents) -> None:
    words = ("immediate", "high", "medium", "low")
    priorities = [submit(loaded_agents, "sms", priority=word).priority for word in words]
    assert priorities == [0, 1, 2, 3]
    assert submit(loaded_agents, "sms", priority=3).priority == 3


def test_timestamp_is_stored_in_the_metadata(loaded_agents: Agents) -> None:
    given = {"timestamp": "2024-11-01T14:00:00Z", "metadata": {"customer": 7}}
    assert submit(loaded_agents, "sms", **given).metadata == {
        "customer": 7,
        "timestamp": "2024-11-01T14:00:00+00:00",
    }
    own = submit(loaded_agents, "sms", **{**given, "metadata": {"timestamp": "mine"}})
    assert own.metadata == {"timestamp": "mine"}


def test_longest_values_are_accepted(loaded_agents: Agents) -> None:
    fields = {
        "channel": "push",
        "to": "😀" * 512,
        "from": "🙂" * 128,
        "body": "hi",
        "reference": "é" * 255,
    }
    submission = validate(parse(MessageRequest, fields), loaded_agents)
    assert (len(submission.recipient), len(submission.reference or "")) == (512, 255)


def test_time_to_send_may_be_in_the_recent_past(loaded_agents: Agents) -> None:
    assert submit(loaded_agents, "sms", send_at=_from_now(hours=-23)).send_at is not None


def test_message_cannot_replace_the_idempotency_key_of_postroom(loaded_agents: Agents) -> None:
    fields = {"channel": "http", "to": "/orders", "headers": {"idempotency-Key": "x"}}
    with pytest.raises(InvalidError) as caught:
        validate(parse(MessageRequest, fields), loaded_agents)
    assert [error.field for error in caught.value.errors] == ["headers.idempotency-Key"]
