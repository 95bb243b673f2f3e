"""Replay messages by filter."""

from http import HTTPStatus
from typing import TYPE_CHECKING, Literal

from pydantic import BaseModel, ConfigDict, Field

from app import db
from app.api.operations import Operation, Section
from app.errors import FieldError, InvalidError
from app.fields import Whole
from app.models import Message
from app.outbox import replay
from app.outbox.states import REPLAYABLE
from app.queries.messages import Filter

section = Section("replay")

if TYPE_CHECKING:
    Replayable = str
else:
    Replayable = Literal[*sorted(REPLAYABLE)]

OPTIONS = frozenset({"dry_run", "after"})


class ReplayRequest(Filter):
    """Filters for the messages to replay. At least one is required."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [{"agent": "smtp", "since": "2027-01-04T08:00:00Z", "dry_run": False}]
        }
    )

    status: list[Replayable] = Field(["failed"], min_length=1, max_length=20)
    dry_run: bool = Field(default=True, strict=True, description="Only count the messages.")
    after: Whole = Field(0, ge=0, lt=2**63, description="Only messages with a greater id.")


class Replayed(BaseModel):
    """The result of a replay.

    To replay the next batch, pass `last_id` as `after`, until it is `null`.
    """

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {"dry_run": False, "matched": 501, "replayed": 500, "remaining": 1, "last_id": 4711}
            ]
        }
    )

    dry_run: bool
    matched: int = Field(description="Matching messages before this replay.")
    replayed: int = Field(
        description=f"Messages replayed; at most {replay.REPLAY_BATCH} per request."
    )
    remaining: int
    last_id: int | None


@section.serve(
    Operation("POST", "/api/replay", {HTTPStatus.OK: Replayed}, scope="operate", body=ReplayRequest)
)
def replay_messages(body: ReplayRequest) -> Replayed:
    """Replay the messages that match a filter, one batch per request.

    By default the messages are only counted; set `dry_run` to `false` to send them again.
    """
    if all(getattr(body, name) is None for name in body.model_fields_set - OPTIONS):
        raise InvalidError([FieldError("", "at least one filter is required")])
    conditions = [*body.conditions(), Message.status.in_(body.status), Message.id > body.after]
    with db.transaction() as connection:
        matched = sum(replay.count(connection, conditions).values())
        replayed = [] if body.dry_run else replay.replay_batch(connection, conditions, body.after)
    return Replayed(
        dry_run=body.dry_run,
        matched=matched,
        replayed=len(replayed),
        remaining=matched - len(replayed),
        last_id=max(replayed, default=None),
    )
