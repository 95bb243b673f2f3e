from collections.abc import Callable

import pytest
from sqlalchemy import Connection, text

from tests.app.outbox.driver import Outbox


@pytest.fixture
def outbox(connection: Connection) -> Outbox:
    return Outbox(connection)


@pytest.fixture
def waits_for_lock(connection: Connection) -> Callable[[], bool]:
    """Return whether a backend of this database is waiting for a lock."""

    def waiting() -> bool:
        return bool(
            connection.execute(
                text(
                    "SELECT EXISTS(SELECT FROM pg_stat_activity"
                    " WHERE datname = current_database() AND wait_event_type = 'Lock')"
                )
            ).scalar_one()
        )

    return waiting
