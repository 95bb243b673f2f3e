"""Migrate the database to another revision."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.util import CommandError
from sqlalchemy import text

from app.db import engine

LOCK_KEY = 0x706F7374  # "post": serialises migrations; nothing else in this database uses it
LOCK_TIMEOUT = "10s"
LOCK_POLL_SECONDS = 0.2


class NewerDatabaseError(Exception):
    """The database was migrated by a newer version of Postroom."""


def upgrade(revision: str = "head") -> None:
    """Upgrade the database to `revision`. Concurrent calls wait for the first.

    A revision gives up after waiting 10 s for a table lock, rather than blocking the senders that
    queue up behind it. Run it again then.

    Raises:
        NewerDatabaseError: The database is at a revision that this version does not have.
        sqlalchemy.exc.OperationalError: A lock was not available, or PostgreSQL is unreachable.
    """
    try:
        with _migrating() as config:
            command.upgrade(config, revision)
    except CommandError as error:
        raise NewerDatabaseError(
            f"database: newer than this version of Postroom ({error}). Upgrade Postroom."
        ) from None


def downgrade(revision: str) -> None:
    """Downgrade the database to `revision`; `base` removes everything that Postroom created."""
    with _migrating() as config:
        command.downgrade(config, revision)


def current_revision() -> str | None:
    """Return the revision of the database, or None if it is empty."""
    with engine().connect() as connection:
        return MigrationContext.configure(connection).get_current_revision()


@contextmanager
def _migrating() -> Iterator[Config]:
    """Hold the migration lock, on the connection that the revisions use."""
    config = Config()
    folder = Path(__file__).resolve().parent.parent / "migrations"
    config.set_main_option("script_location", str(folder).replace("%", "%%"))
    with engine().connect() as connection:
        config.attributes["connection"] = connection
        connection.execute(text("SET statement_timeout = 0"))
        # A statement that waited would block CREATE INDEX CONCURRENTLY of the migration before.
        try_lock = text("SELECT pg_try_advisory_lock(:key)")
        while not connection.execute(try_lock, {"key": LOCK_KEY}).scalar_one():
            connection.commit()
            time.sleep(LOCK_POLL_SECONDS)
        connection.execute(text(f"SET lock_timeout = '{LOCK_TIMEOUT}'"))
        connection.commit()
        try:
            yield config
        finally:
            connection.rollback()
            connection.execute(text("SELECT pg_advisory_unlock(:key)"), {"key": LOCK_KEY})
            connection.execute(text("RESET lock_timeout"))
            connection.execute(text("RESET statement_timeout"))
            connection.commit()
