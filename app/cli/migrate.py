"""`postroom migrate`."""

import click

from app.db import autocommit
from app.migrate import current_revision, upgrade
from app.server_log import find_exposures


@click.command()
def migrate() -> None:
    """Migrate the database to the newest revision."""
    before = current_revision()
    upgrade()
    after = current_revision()
    if before == after:
        click.echo(f"The database is already at revision {after}.")
    else:
        click.echo(f"Migrated the database from {before or 'empty'} to revision {after}.")
    with autocommit() as connection:
        for warning in find_exposures(connection):
            click.echo(f"postroom: warning: {warning}", err=True)
