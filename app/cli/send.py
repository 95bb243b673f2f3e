"""`postroom send`: a message into the outbox, checked as the API checks it.

It goes straight into PostgreSQL, so it works while the web process and the broker are down.
"""

import sys
import time
from base64 import b64encode
from pathlib import Path
from typing import Any, get_args

import click

from app.agents import agents
from app.cli.output import BY, CommandError, NothingToDoError, clean, json_option, print_json
from app.db import autocommit, transaction
from app.errors import InvalidError, NotFoundError
from app.fields import parse
from app.outbox.store import store
from app.queries.messages import get_message
from app.queries.views import EventView
from app.submission.schema import MessageRequest
from app.submission.submission import Submission
from app.submission.suppressions import check_suppressions
from app.submission.validation import validate
from connectors.base import Channel

FOLLOW_SECONDS = 0.2
PRIORITIES = ("0", "1", "2", "3", "immediate", "high", "medium", "low")


@click.command()
@click.option("--channel", required=True, type=click.Choice(get_args(Channel)))
@click.option("--to", required=True, help="A phone number, an e-mail address, or what fits.")
@click.option("--from", help="Else the default of the agent's profile.")
@click.option("--subject")
@click.option("--body", help="Plain text; - reads it from stdin.")
@click.option("--html", help="E-mail only.")
@click.option("--agent", help="The way out; else the routes of agents.toml choose it.")
@click.option("--profile")
@click.option("--priority", type=click.Choice(PRIORITIES), help="2, or medium, by default.")
@click.option("--send-at", metavar="TIME", help="Not before; such as 2026-11-22T14:00:00Z.")
@click.option("--reference", help="Your own name for the message.")
@click.option(
    "--attach",
    "files",
    multiple=True,
    type=click.Path(exists=True, dir_okay=False, readable=True, path_type=Path),
    help="A file; can be given several times.",
)
@click.option("--wait", is_flag=True, help="Follow the message to its end; 0 where it was sent.")
@json_option
def send(*, files: tuple[Path, ...], wait: bool, as_json: bool, **fields: str | None) -> None:
    """Put a message into the outbox.

    With --json and --wait, each event is a line of its own.
    """
    given = {name: value for name, value in fields.items() if value is not None}
    try:
        message = _submission(given, files)
        with transaction() as connection:
            check_suppressions(connection, message)
            [kept] = store(connection, [message], BY)
    except InvalidError as error:
        raise CommandError(str(error)) from None
    if as_json:
        print_json(
            {
                "id": kept.id,
                "status": "outbox",
                "conversation_id": kept.conversation_id,
                "reference": message.reference,
            }
        )
    else:
        click.echo(f"Message {kept.id} is in the outbox, for agent {message.agent}.")
    if wait:
        _follow(kept.id, as_json=as_json)


def _submission(fields: dict[str, Any], files: tuple[Path, ...]) -> Submission:
    if fields.get("body") == "-":
        # A pipe ends in a newline that nobody meant to send.
        fields["body"] = sys.stdin.read().rstrip("\n")
    if str(fields.get("priority")).isdecimal():
        fields["priority"] = int(fields["priority"])
    if files:
        fields["attachments"] = [
            {"filename": file.name, "content": b64encode(file.read_bytes()).decode()}
            for file in files
        ]
    return validate(parse(MessageRequest, fields), agents())


def _follow(message_id: int, *, as_json: bool) -> None:
    """Print what happens to the message until it has ended."""
    shown = 0
    while True:
        try:
            with autocommit() as connection:
                message = get_message(connection, message_id)
        except NotFoundError as error:
            raise NothingToDoError(str(error)) from None
        for event in message.events[shown:]:
            _print_event(event, as_json=as_json)
        shown = len(message.events)
        if message.finished_at is not None:
            break
        time.sleep(FOLLOW_SECONDS)
    if message.status not in {"sent", "delivered"}:
        reason = message.reason or message.error_code or "no reason is known"
        raise CommandError(f"message {message_id} is {message.status}: {reason}")


def _print_event(event: EventView, *, as_json: bool) -> None:
    if as_json:
        print_json(event.model_dump(mode="json"))
        return
    reason = f"  ({clean(event.reason)})" if event.reason else ""
    click.echo(f"{event.happened_at:%H:%M:%S.%f}Z  {event.to_status}{reason}")
