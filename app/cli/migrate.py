"""`postroom migrate`."""

import click
from alembic.runtime.migration import MigrationContext
from alembic.util import CommandError as AlembicError

from app import migrate as migrations
from app.cli.output import CommandError
from app.db import engine


@click.command()
def migrate() -> None:
    """Bring the database to the newest revision."""
    before = _revision()
    try:
        migrations.upgrade()
    except AlembicError as error:
        raise CommandError(f"the database is newer than this program: {error}") from None
    after = _revision()
    if before == after:
        click.echo(f"The database is at revision {after} already.")
    else:
        click.echo(f"The database went from {before or 'empty'} to revision {after}.")


def _revision() -> str | None:
    with engine().connect() as connection:
        return MigrationContext.configure(connection).get_current_revision()
