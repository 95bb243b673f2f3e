"""`postroom token`: makes, shows and revokes API tokens."""

import re
from datetime import UTC, datetime, timedelta
from typing import Any

import click
from sqlalchemy import Connection

from app.auth import tokens as auth
from app.cli.output import (
    CommandError,
    NothingToDoError,
    console,
    json_option,
    moment,
    print_json,
    table,
)
from app.db import transaction

UNITS = {"m": "minutes", "h": "hours", "d": "days", "w": "weeks"}


class Span(click.ParamType[timedelta]):
    """A span of time such as 90d: minutes, hours, days or weeks."""

    name = "span"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> timedelta:
        found = re.fullmatch(r"([1-9]\d{0,4})([mhdw])", str(value))
        if not found:
            self.fail("expected a span like 45m, 12h, 90d or 52w", param, ctx)
        return timedelta(**{UNITS[found[2]]: int(found[1])})


@click.group()
def token() -> None:
    """API tokens: who may submit, read, operate and receive."""


@token.command()
@click.argument("name")
@click.option(
    "--scope", "scopes", multiple=True, required=True, type=click.Choice(auth.SCOPES),
    help="What it may do; can be given several times.",
)  # fmt: skip
@click.option("--expires-in", type=Span(), metavar="SPAN", help="Such as 12h, 90d or 52w.")
@json_option
def create(
    *, name: str, scopes: tuple[auth.Scope, ...], expires_in: timedelta | None, as_json: bool
) -> None:
    """Make a token for the application NAME and print it, this once.

    Several tokens may share a name: make the new one before you revoke the old.
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
    until = f"until {moment(expires_at)}" if expires_at else "until it is revoked"
    click.echo(f"A token for {name}, good {until}. It is not shown again:", err=True)
    click.echo(made)


@token.command("list")
@json_option
def list_tokens(*, as_json: bool) -> None:
    """Show all tokens by what is known of them; never the tokens themselves."""
    with transaction() as connection:
        tokens = [{**row._mapping, "state": _state(row)} for row in auth.tokens(connection)]
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
            moment(row["created_at"]),
            moment(row["last_used_at"]),
            moment(row["expires_at"]),
        )
        for row in tokens
    )
    columns = ("id", "name", "token", "scopes", "state", "made", "last used", "expires")
    console().print(table(columns, rows))


def _state(row: Any) -> str:
    if row.revoked_at:
        return "revoked"
    return "expired" if row.expires_at and row.expires_at <= datetime.now(UTC) else "valid"


@token.command()
@click.argument("which", metavar="ID|HINT")
def revoke(which: str) -> None:
    """End a token at once, named by its id or by its first characters as `list` shows them."""
    with transaction() as connection:
        number = int(which) if which.isdecimal() else _by_hint(connection, which)
        if not auth.revoke(connection, number):
            raise NothingToDoError(f"there is no token {which} that is still good")
    click.echo(f"Token {which} is revoked.")


def _by_hint(connection: Connection, hint: str) -> int:
    found = [row for row in auth.tokens(connection) if row.hint == hint.removesuffix("…")]
    if not found:
        raise NothingToDoError(f"no token begins with {hint}")
    if len(found) > 1:
        ids = ", ".join(str(row.id) for row in found)
        raise CommandError(f"several tokens begin with {hint}; name one by its id: {ids}")
    return int(found[0].id)
