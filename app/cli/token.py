"""`postroom token`."""

from datetime import UTC, datetime, timedelta
from typing import Any

import click
from sqlalchemy import Connection

from app.auth import tokens as auth
from app.cli.errors import CommandError, NothingToDoError
from app.cli.output import console, format_time, json_option, print_json, table
from app.cli.times import Duration
from app.db import transaction


@click.group()
def token() -> None:
    """Manage API tokens."""


@token.command()
@click.argument("name")
@click.option(
    "--scope", "scopes", multiple=True, required=True, type=click.Choice(auth.SCOPES),
    help="What the token allows. Can be repeated.",
)  # fmt: skip
@click.option(
    "--expires-in",
    type=Duration(),
    metavar="DURATION",
    help="When the token expires: 45m, 12h, 90d, 52w. Never by default.",
)
@json_option
def create(
    *, name: str, scopes: tuple[auth.Scope, ...], expires_in: timedelta | None, as_json: bool
) -> None:
    """Create a token for the application NAME and print it.

    It is not shown again. Several tokens may share a name: to replace one, create the new token
    before you revoke the old.
    """
    expires_at = None if expires_in is None else datetime.now(UTC) + expires_in
    try:
        with transaction() as connection:
            made = auth.create_token(connection, name=name, scopes=scopes, expires_at=expires_at)
    except ValueError as error:
        raise CommandError(str(error)) from None
    if as_json:
        granted = sorted(set(scopes))
        print_json({"name": name, "scopes": granted, "expires_at": expires_at, "token": made})
        return
    until = format_time(expires_at) if expires_at else "it is revoked"
    click.echo(f"Token for {name}, valid until {until}. It is not shown again:", err=True)
    click.echo(made)


@token.command("list")
@json_option
def list_tokens(*, as_json: bool) -> None:
    """List the tokens: their first characters, scopes and last use."""
    with transaction() as connection:
        tokens = [{**row._mapping, "state": _state(row)} for row in auth.list_tokens(connection)]
    if as_json:
        print_json(tokens)
        return
    rows = (
        (
            row["id"],
            row["name"],
            f"{row['hint']}…",
            " ".join(row["scopes"]),
            row["state"],
            format_time(row["created_at"]),
            format_time(row["last_used_at"]),
            format_time(row["expires_at"]),
        )
        for row in tokens
    )
    columns = ("id", "name", "token", "scopes", "state", "created", "last used", "expires")
    console().print(table(columns, rows))


def _state(row: Any) -> str:
    if row.revoked_at:
        return "revoked"
    return "expired" if row.expires_at and row.expires_at <= datetime.now(UTC) else "valid"


@token.command()
@click.argument("which", metavar="ID|HINT")
def revoke(which: str) -> None:
    """Revoke a token, given its id or its first characters as `list` shows them."""
    with transaction() as connection:
        number = int(which) if which.isdecimal() else _by_hint(connection, which)
        if not auth.revoke(connection, number):
            raise NothingToDoError(f"token {which}: not found, or already revoked")
    click.echo(f"Revoked token {which}.")


def _by_hint(connection: Connection, hint: str) -> int:
    found = [row for row in auth.list_tokens(connection) if row.hint == hint.removesuffix("…")]
    if not found:
        raise NothingToDoError(f"token {hint}: not found")
    if len(found) > 1:
        ids = ", ".join(str(row.id) for row in found)
        raise CommandError(f"token {hint}: several tokens start with it. Use an id: {ids}.")
    return int(found[0].id)
