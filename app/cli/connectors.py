"""`postroom connectors`."""

import click

from app.cli.errors import NothingToDoError
from app.cli.output import console, table
from app.queries.connector_reference import errors_table, settings_table
from connectors.base import registry


@click.group()
def connectors() -> None:
    """Inspect the installed connectors."""


@connectors.command(name="list")
def list_connectors() -> None:
    """List the connectors and the channels that they serve."""
    found = [(name, registry.load(name)) for name in registry.names()]
    rows = (
        (name, " ".join(sorted(one.channels)), "yes" if one.can_poll else None, one.documentation)
        for name, one in found
    )
    console().print(table(("connector", "channels", "polls", "documentation"), rows))


@connectors.command()
@click.argument("name")
def show(name: str) -> None:
    """Show the settings of a connector and the error codes of its provider."""
    try:
        found = registry.load(name)
    except LookupError as error:
        raise NothingToDoError(str(error.args[0])) from None
    click.echo(f"{settings_table(found)}\n\n{errors_table(found)}")
