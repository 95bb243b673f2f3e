"""Brings the database to the newest revision."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, text

from app.db import engine

LOCK_KEY = 0x706F7374  # "post": any number that nobody else takes in this database
LOCK_TIMEOUT = "10s"


@contextmanager
def _configured() -> Iterator[tuple[Config, Connection]]:
    config = Config()
    folder = Path(__file__).resolve().parent.parent / "migrations"
    config.set_main_option("script_location", str(folder).replace("%", "%%"))
    with engine().connect() as connection:
        config.attributes["connection"] = connection
        yield config, connection


def upgrade(revision: str = "head") -> None:
    """Upgrade to `revision`. Processes that start together wait for the first of them.

    Each revision gives up after 10 s of waiting for a table lock rather than hold up the
    senders behind it; start it again then. Raises sqlalchemy.exc.OperationalError for that.
    """
    with _migrating() as config:
        command.upgrade(config, revision)


def downgrade(revision: str) -> None:
    """Downgrade to `revision`; `base` empties the database of everything that is Postroom's."""
    with _migrating() as config:
        command.downgrade(config, revision)


@contextmanager
def _migrating() -> Iterator[Config]:
    with _configured() as (config, connection):
        connection.execute(text("SET statement_timeout = 0"))
        connection.execute(text("SELECT pg_advisory_lock(:key)"), {"key": LOCK_KEY})
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


def is_current() -> bool:
    """Whether the database is at the newest revision."""
    with _configured() as (config, connection):
        newest = ScriptDirectory.from_config(config).get_current_head()
        return MigrationContext.configure(connection).get_current_revision() == newest
