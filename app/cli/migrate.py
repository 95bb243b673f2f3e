"""`postroom migrate`."""

import click
from alembic.util import CommandError as AlembicError

from app.cli.errors import CommandError
from app.migrate import current_revision, upgrade


@click.command()
def migrate() -> None:
    """Migrate the database to the newest revision."""
    before = current_revision()
    try:
        upgrade()
    except AlembicError as error:
        raise CommandError(
            f"database: newer than this version of Postroom ({error}). Upgrade Postroom."
        ) from None
    after = current_revision()
    if before == after:
        click.echo(f"The database is already at revision {after}.")
    else:
        click.echo(f"Migrated the database from {before or 'empty'} to revision {after}.")
