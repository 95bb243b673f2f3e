"""What people do to messages that were accepted: take them back, or send them again."""

from collections.abc import Callable, Sequence
from http import HTTPStatus
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field
from sqlalchemy import Connection, select

from app import db
from app.api.operations import Operation, Section
from app.api.problems import FieldError, ProblemError, invalid
from app.fields import Whole
from app.models import Message
from app.outbox import replay
from app.outbox.cancel import cancel as cancel_messages
from app.queries.messages import Filter
from app.queries.views import Status

section = Section("interventions")

NOT_NOW = frozenset({HTTPStatus.CONFLICT})
OPTIONS = frozenset({"dry_run", "after"})
Replayable = Literal["failed", "unknown", "cancelled", "expired", "bounced", "delivered"]


class Changed(BaseModel):
    """A message and its status now."""

    id: int
    status: Status


class ReplayRequest(Filter):
    """Which messages to send again; at least one condition is needed."""

    model_config = ConfigDict(
        json_schema_extra={
            "anyOf": [{"required": [name]} for name in ("status", *Filter.model_fields)]
        }
    )

    status: list[Replayable] = Field(["failed"], min_length=1, max_length=20)
    dry_run: bool = Field(default=True, strict=True, description="only count")
    after: Whole = Field(0, ge=0, lt=2**63, description="only those with a greater id")


class Replayed(BaseModel):
    """What a replay did, or would do. To go on, give `last_id` as `after` until it is null."""

    dry_run: bool
    matched: int = Field(description="before this replay")
    replayed: int = Field(description=f"up to {replay.REPLAY_BATCH} at once")
    remaining: int
    last_id: int | None


@section.serve(
    Operation(
        "POST",
        "/api/messages/<id:message_id>/cancel",
        {HTTPStatus.OK: Changed},
        scope="operate",
        problems=NOT_NOW,
    )
)
def cancel(message_id: int) -> Changed:
    """Cancel a message that nobody has begun to send.

    Once this is answered with 200 it will not be sent; 409 says that it is too late.
    """
    return _change(cancel_messages, message_id)


@section.serve(
    Operation(
        "POST",
        "/api/messages/<id:message_id>/replay",
        {HTTPStatus.OK: Changed},
        scope="operate",
        problems=NOT_NOW,
    )
)
def replay_one(message_id: int) -> Changed:
    """Send a message again that has ended.

    Its tries start anew. 409 says that it has not ended, or was sent and may yet be delivered.
    """
    return _change(replay.replay, message_id)


@section.serve(
    Operation("POST", "/api/replay", {HTTPStatus.OK: Replayed}, scope="operate", body=ReplayRequest)
)
def replay_many(body: ReplayRequest) -> Replayed:
    """Send messages again that have ended, in bounded batches.

    Counts only, unless `dry_run` is false.
    """
    if all(getattr(body, name) is None for name in body.model_fields_set - OPTIONS):
        raise invalid([FieldError(field="", reason="name at least one condition")])
    conditions = [*body.conditions(), Message.status.in_(body.status), Message.id > body.after]
    with db.transaction() as connection:
        matched = sum(replay.count(connection, conditions).values())
        done = [] if body.dry_run else replay.replay_batch(connection, conditions, body.after)
    return Replayed(
        dry_run=body.dry_run,
        matched=matched,
        replayed=len(done),
        remaining=matched - len(done),
        last_id=max(done, default=None),
    )


def _change(change: Callable[[Connection, Sequence[int]], list[int]], message_id: int) -> Changed:
    with db.transaction() as connection:
        changed = change(connection, [message_id])
        status = connection.execute(
            select(Message.status).where(Message.id == message_id)
        ).scalar_one_or_none()
    if status is None:
        raise ProblemError(HTTPStatus.NOT_FOUND, f"there is no message {message_id}")
    if not changed:
        raise ProblemError(HTTPStatus.CONFLICT, f"message {message_id} is {status}")
    return Changed(id=message_id, status=status)
