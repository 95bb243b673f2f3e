"""Connections to PostgreSQL, and the values that it can store."""

import json
import math
import re
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

from psycopg2.errors import ReadOnlySqlTransaction
from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.engine import ExceptionContext
from sqlalchemy.exc import (
    DBAPIError,
    InterfaceError,
    OperationalError,
    SQLAlchemyError,
)
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from app.settings import settings

_NOT_STORABLE = re.compile("[\0\ud800-\udfff]")


MAX_INTEGER_DIGITS = 1000


def _load_json(document: str | bytes) -> Any:
    """Return a JSON document, with numbers that Python cannot represent as their text.

    Other programs insert them, and one such row must not make a whole list unreadable.
    """
    return json.loads(document, parse_int=_load_integer, parse_float=_load_float)


def _load_integer(digits: str) -> int | str:
    return int(digits) if len(digits) <= MAX_INTEGER_DIGITS else digits


def _load_float(digits: str) -> float | str:
    number = float(digits)
    return number if math.isfinite(number) else digits


def _make_engine(**options: Any) -> Engine:
    """Return an engine whose connections use UTC and cancel a statement after 30 seconds."""
    engine = create_engine(
        settings().database_url,
        pool_size=10,
        max_overflow=20,
        pool_timeout=10,
        json_deserializer=_load_json,
        hide_parameters=True,  # errors must not quote the content of messages
        connect_args={
            "connect_timeout": 5,
            "application_name": "postroom",
            # A process that is frozen inside a transaction must not hold its locks forever.
            "options": "-c timezone=UTC -c statement_timeout=30000"
            " -c idle_in_transaction_session_timeout=15000",
            "keepalives_idle": 20,
            "keepalives_interval": 5,
            "keepalives_count": 3,
        },
        **options,
    )
    event.listen(engine, "handle_error", _discard_read_only_connections)
    return engine


def _discard_read_only_connections(context: ExceptionContext) -> None:
    """Connect again after a write failed because the server is read-only.

    After a failover, the old connections may lead to the former primary for ever.
    """
    if isinstance(context.original_exception, ReadOnlySqlTransaction):
        context.is_disconnect = True


def is_read_only(error: Exception) -> bool:
    """Return whether a write failed because PostgreSQL is read-only."""
    return isinstance(error, DBAPIError) and isinstance(error.orig, ReadOnlySqlTransaction)


def is_unavailable(error: Exception) -> bool:
    """Return whether PostgreSQL cannot do now what it may do later: it is down, full, or busy."""
    return isinstance(error, OperationalError | InterfaceError | PoolTimeoutError)


def describe_error(error: SQLAlchemyError) -> str:
    """Return a description for the log, without the address of the database or any value."""
    if is_read_only(error):
        return "PostgreSQL is read-only"
    if is_unavailable(error):
        return "PostgreSQL is out of reach"
    state = getattr(getattr(error, "orig", None), "pgcode", None)
    return f"{type(error).__name__}, SQLSTATE {state}" if state else type(error).__name__


@cache
def engine() -> Engine:
    """Return the engine of this process for transactions."""
    return _make_engine()


@cache
def _autocommit_engine() -> Engine:
    """Return the engine of this process for single statements.

    It is separate because changing the isolation level of a connection costs a round trip.
    """
    return _make_engine(isolation_level="AUTOCOMMIT")


@contextmanager
def transaction() -> Iterator[Connection]:
    """Yield a connection in a transaction: committed at the end, rolled back on an error."""
    with engine().begin() as connection:
        yield connection


@contextmanager
def autocommit() -> Iterator[Connection]:
    """Yield a connection where each statement is its own transaction, and so one round trip."""
    with _autocommit_engine().connect() as connection:
        yield connection


def close() -> None:
    """Close all connections of this process. The next use reads the settings again."""
    for cached in (engine, _autocommit_engine):
        if cached.cache_info().currsize:
            cached().dispose()
        cached.cache_clear()


def storable(value: Any) -> Any:
    """Return text or JSON with each NUL and lone surrogate, which PostgreSQL rejects, as U+FFFD."""
    if isinstance(value, str):
        return _NOT_STORABLE.sub("\N{REPLACEMENT CHARACTER}", value)
    if isinstance(value, dict):
        return {storable(str(key)): storable(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [storable(inner) for inner in value]
    return value
