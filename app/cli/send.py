"""`postroom send`."""

import sys
import time
from base64 import b64encode
from pathlib import Path
from typing import Any, get_args

import click

from app.agents import agents
from app.cli.errors import CommandError
from app.cli.output import OPERATOR, json_option, print_json, printable
from app.db import autocommit, transaction
from app.fields import parse
from app.outbox.store import store
from app.queries.messages import get_message
from app.queries.views import EventView
from app.submission.schema import MessageRequest
from app.submission.suppressions import check_suppressions
from app.submission.validation import validate
from connectors.base import Channel

FOLLOW_SECONDS = 0.2
PRIORITIES = ("0", "1", "2", "3", "immediate", "high", "medium", "low")


@click.command()
@click.option(
    "--channel", required=True, type=click.Choice(get_args(Channel)), help="Kind of message."
)
@click.option(
    "--to", required=True, help="Recipient: a phone number, an e-mail address, a device token, …"
)
@click.option("--from", help="Sender; by default that of the agent's profile.")
@click.option("--subject", help="Subject.")
@click.option("--body", help="Plain text; - reads it from stdin.")
@click.option("--html", help="HTML body, for e-mail only.")
@click.option("--agent", help="Agent; by default chosen by the routes of agents.toml.")
@click.option("--profile", help="Profile of the agent.")
@click.option(
    "--priority", type=click.Choice(PRIORITIES), help="0 is sent first, 3 last; 2 by default."
)
@click.option("--send-at", metavar="TIME", help="Earliest time to send: 2026-11-22T14:00:00Z.")
@click.option("--reference", help="Your own identifier of the message.")
@click.option(
    "--attach",
    "files",
    multiple=True,
    type=click.Path(exists=True, dir_okay=False, readable=True, path_type=Path),
    help="File to attach. Can be repeated.",
)
@click.option(
    "--wait", is_flag=True, help="Show each event until the message has ended; fail if not sent."
)
@json_option
def send(*, files: tuple[Path, ...], wait: bool, as_json: bool, **fields: str | None) -> None:
    """Submit a message.

    It is validated as by the API and stored in PostgreSQL, so the web process and Redis are not
    needed. With --json and --wait, each event is a line of JSON.
    """
    given: dict[str, Any] = {name: value for name, value in fields.items() if value is not None}
    if given.get("body") == "-":
        given["body"] = sys.stdin.read().rstrip("\n")  # added by most commands that write to a pipe
    if given.get("priority", "").isdecimal():
        given["priority"] = int(given["priority"])
    if files:
        given["attachments"] = [
            {"filename": file.name, "content": b64encode(file.read_bytes()).decode()}
            for file in files
        ]
    submission = validate(parse(MessageRequest, given), agents())
    with transaction() as connection:
        check_suppressions(connection, submission)
        [stored] = store(connection, [submission], OPERATOR)
    if as_json:
        print_json(
            {
                "id": stored.id,
                "status": "outbox",
                "conversation_id": stored.conversation_id,
                "reference": submission.reference,
            }
        )
    else:
        click.echo(f"Message {stored.id} is in the outbox, for agent {submission.agent}.")
    if wait:
        _follow(stored.id, as_json=as_json)


def _follow(message_id: int, *, as_json: bool) -> None:
    """Print the events of a message until it has ended."""
    shown = 0
    while True:
        with autocommit() as connection:
            message = get_message(connection, message_id)
        for event in message.events[shown:]:
            _print_event(event, as_json=as_json)
        shown = len(message.events)
        if message.finished_at is not None:
            break
        time.sleep(FOLLOW_SECONDS)
    if message.status not in {"sent", "delivered"}:
        reason = message.reason or message.error_code or "unknown reason"
        raise CommandError(f"message {message_id}: {message.status}: {reason}")


def _print_event(event: EventView, *, as_json: bool) -> None:
    if as_json:
        print_json(event.model_dump(mode="json"))
        return
    reason = f"  ({printable(event.reason)})" if event.reason else ""
    click.echo(f"{event.happened_at:%H:%M:%S.%f}Z  {event.to_status}{reason}")
