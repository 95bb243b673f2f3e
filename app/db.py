"""The engines of this process and the two ways to use them."""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

from sqlalchemy import Connection, Engine, create_engine

from app.settings import settings


def _make_engine(**options: Any) -> Engine:
    """Every connection runs in UTC and gives up a statement after 30 s."""
    return create_engine(
        settings().database_url,
        pool_size=10,
        max_overflow=20,
        pool_timeout=10,
        hide_parameters=True,  # an error must not quote what a message says
        connect_args={
            "connect_timeout": 5,
            "application_name": "postroom",
            # A process that is frozen inside a transaction must not hold its locks for ever.
            "options": "-c timezone=UTC -c statement_timeout=30000"
            " -c idle_in_transaction_session_timeout=15000",
            "keepalives_idle": 20,
            "keepalives_interval": 5,
            "keepalives_count": 3,
        },
        **options,
    )


@cache
def engine() -> Engine:
    """The engine for transactions, one a process."""
    return _make_engine()


@cache
def _autocommit_engine() -> Engine:
    """An engine of its own: a connection that changes its isolation level for each use pays a
    round trip for it."""
    return _make_engine(isolation_level="AUTOCOMMIT")


@contextmanager
def transaction() -> Iterator[Connection]:
    """A connection inside one transaction: committed at the end, rolled back on an error."""
    with engine().begin() as connection:
        yield connection


@contextmanager
def autocommit() -> Iterator[Connection]:
    """A connection where each statement is its own transaction, and so one round trip."""
    with _autocommit_engine().connect() as connection:
        yield connection


def close() -> None:
    """Close the connections of this process; the next use opens others, by the settings of then."""
    for made in (engine, _autocommit_engine):
        if made.cache_info().currsize:
            made().dispose()
        made.cache_clear()
