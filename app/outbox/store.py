"""Into the outbox: messages from the API, and those that programs INSERT by themselves."""

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Row, bindparam, func, insert, text

from app import addresses, conversations, suppression
from app.agents import Agents, UnroutableError, choose_agent
from app.models import Attachment, Message
from app.settings import settings
from app.submission.submission import Submission

ADOPT_AT_ONCE = 1000


@dataclass(frozen=True, slots=True)
class Stored:
    """A message that is in the outbox now."""

    id: int
    conversation_id: int


def store(
    connection: Connection, submissions: Sequence[Submission], submitted_by: str
) -> list[Stored]:
    """Put `submissions` into the outbox, in the transaction of `connection`; the answer has their
    order."""
    if not submissions:
        return []
    keys = [
        conversations.key(submission.channel, submission.recipient, submission.sender)
        for submission in submissions
    ]
    ids = conversations.thread(connection, keys)
    rows = [
        _row(submission, ids[key], submitted_by)
        for submission, key in zip(submissions, keys, strict=True)
    ]
    kept = connection.execute(
        insert(Message)
        .values(due_at=func.coalesce(bindparam("send_at"), func.now()))
        .returning(Message.id, sort_by_parameter_order=True),
        rows,
    ).scalars()
    answer = [Stored(number, ids[key]) for number, key in zip(kept, keys, strict=True)]
    if files := [
        {
            "message_id": kept.id,
            "name": file.name,
            "content_type": file.content_type,
            "content": file.content,
            "url": file.url,
            "sha256": file.sha256,
        }
        for kept, submission in zip(answer, submissions, strict=True)
        for file in submission.attachments
    ]:
        connection.execute(insert(Attachment), files)
    return answer


def _row(submission: Submission, conversation_id: int, submitted_by: str) -> dict[str, Any]:
    return {
        "channel": submission.channel,
        "agent": submission.agent,
        "profile": submission.profile,
        "sender": submission.sender,
        "recipient": submission.recipient,
        "cc": list(submission.cc),
        "bcc": list(submission.bcc),
        "reply_to": submission.reply_to,
        "subject": submission.subject,
        "body": submission.body,
        "html": submission.html,
        "headers": dict(submission.headers),
        "payload": submission.payload,
        "metadata": dict(submission.metadata),
        "priority": submission.priority,
        "send_at": submission.due_at,
        "expires_at": submission.expires_at,
        "reference": submission.reference,
        "conversation_id": conversation_id,
        "submitted_by": submitted_by,
        "reason": "accepted",
    }


UNADOPTED = text("""
SELECT id, channel, agent, profile, sender, recipient, cc, bcc, reply_to, subject, headers
FROM messages
WHERE status = 'outbox' AND (agent IS NULL OR conversation_id IS NULL)
ORDER BY id
LIMIT :at_once
FOR UPDATE SKIP LOCKED
""")

COMPLETE = text("""
UPDATE messages
SET agent = found.agent, sender = found.sender, recipient = found.recipient,
    cc = ARRAY(SELECT jsonb_array_elements_text(found.copies -> 'cc')),
    bcc = ARRAY(SELECT jsonb_array_elements_text(found.copies -> 'bcc')),
    conversation_id = found.conversation_id
FROM unnest(
    CAST(:ids AS bigint[]), CAST(:agents AS text[]), CAST(:senders AS text[]),
    CAST(:recipients AS text[]), CAST(:copies AS jsonb[]), CAST(:conversations AS bigint[])
) AS found(id, agent, sender, recipient, copies, conversation_id)
WHERE messages.id = found.id
""")

REFUSE = text("""
UPDATE messages
SET status = 'failed', error_code = found.code, reason = found.reason, finished_at = now()
FROM unnest(CAST(:ids AS bigint[]), CAST(:codes AS text[]), CAST(:reasons AS text[]))
    AS found(id, code, reason)
WHERE messages.id = found.id
""")


@dataclass(frozen=True, slots=True)
class _Completion:
    """What a plain INSERT left open."""

    id: int
    agent: str
    sender: str | None
    recipient: str
    cc: list[str]
    bcc: list[str]
    key: conversations.Key
    reached: list[suppression.Key]


@dataclass(frozen=True, slots=True)
class _Refusal:
    """Why a message that came by a plain INSERT is not sent."""

    id: int
    code: str
    reason: str


def adopt(connection: Connection, agents: Agents) -> None:
    """Complete messages that came by a plain INSERT, up to 1,000 at once: normalise their
    addresses, choose their agents, find their conversations. One that cannot be sent fails and
    says why."""
    complete: list[_Completion] = []
    refused: list[_Refusal] = []
    for row in connection.execute(UNADOPTED, {"at_once": ADOPT_AT_ONCE}).all():
        try:
            complete.append(_complete(row, agents))
        except UnroutableError as error:
            refused.append(_Refusal(row.id, "refused", f"{error.field}: {error}"))
    listed = suppression.find(connection, {key for one in complete for key in one.reached})
    found: list[_Completion] = []
    for one in complete:
        if entry := next((listed[key] for key in one.reached if key in listed), None):
            refused.append(_Refusal(one.id, suppression.ERROR_CODE, str(entry)))
        else:
            found.append(one)
    if found:
        ids = conversations.thread(connection, [one.key for one in found])
        connection.execute(
            COMPLETE,
            {
                "ids": [one.id for one in found],
                "agents": [one.agent for one in found],
                "senders": [one.sender for one in found],
                "recipients": [one.recipient for one in found],
                "copies": [json.dumps({"cc": one.cc, "bcc": one.bcc}) for one in found],
                "conversations": [ids[one.key] for one in found],
            },
        )
    if refused:
        connection.execute(
            REFUSE,
            {
                "ids": [one.id for one in refused],
                "codes": [one.code for one in refused],
                "reasons": [one.reason for one in refused],
            },
        )


def _complete(row: Row[Any], agents: Agents) -> _Completion:
    """Raises UnroutableError where the message cannot be sent."""
    region = settings().phone_region
    with _blaming("recipient"):
        recipient = addresses.normalise(row.channel, row.recipient, region)
    with _blaming("sender"):
        sender = row.sender and addresses.normalise_sender(row.channel, row.sender, region)
    _check_headers(row)
    copies = {"cc": row.cc, "bcc": row.bcc}
    if row.channel == "email":
        for name, given in copies.items():
            with _blaming(name):
                copies[name] = [addresses.mailbox(one) for one in given]
    agent = choose_agent(
        agents,
        channel=row.channel,
        recipient=recipient,
        sender=sender,
        requested=row.agent,
        profile=row.profile,
    )
    sender = sender or agents.default_sender(agent.name, row.profile)
    key = conversations.key(row.channel, recipient, sender)
    reached = [
        suppression.key(row.channel, one) for one in (recipient, *copies["cc"], *copies["bcc"])
    ]
    return _Completion(row.id, agent.name, sender, recipient, **copies, key=key, reached=reached)


def _check_headers(row: Row[Any]) -> None:
    """Connectors rely on it that no value can end the header it becomes a part of."""
    is_object = isinstance(row.headers, dict)
    lines = {
        "subject": [row.subject or ""],
        "reply_to": [row.reply_to or ""],
        "cc": row.cc,
        "bcc": row.bcc,
        "headers": [*row.headers, *row.headers.values()] if is_object else [row.headers],
    }
    for name, values in lines.items():
        with _blaming(name):
            for value in values:
                addresses.check_line(value)


@contextmanager
def _blaming(name: str) -> Iterator[None]:
    try:
        yield
    except ValueError as error:
        raise UnroutableError(name, str(error)) from None
