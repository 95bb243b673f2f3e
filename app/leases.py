"""Leases: at any time one process does a named piece of work, such as polling an agent.

A lease is a row, not a lock, so no connection is held meanwhile. Its holder renews it while it
runs; after a crash, another process takes it over when it has expired.
"""

import logging
import os
import secrets
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta

from sqlalchemy import text
from sqlalchemy.exc import SQLAlchemyError

from app.db import autocommit

log = logging.getLogger(__name__)

DURATION = timedelta(seconds=60)
RENEW_INTERVAL = timedelta(seconds=20)

# Acquires a lease that is free or has expired, and renews that of its holder.
ACQUIRE = text("""
INSERT INTO leases (name, holder, lease_until)
VALUES (:name, :holder, now() + CAST(:duration AS interval))
ON CONFLICT (name) DO UPDATE
SET holder = excluded.holder, lease_until = excluded.lease_until
WHERE leases.lease_until < now() OR leases.holder = excluded.holder
RETURNING name
""")

RELEASE = text("DELETE FROM leases WHERE name = :name AND holder = :holder")


@contextmanager
def hold(name: str) -> Iterator[bool]:
    """Hold a lease during the block; yield False, and hold nothing, where another holder has it."""
    holder = f"{socket.gethostname()}/{os.getpid()}/{secrets.token_hex(4)}"
    if not _acquire(name, holder):
        yield False
        return
    released = threading.Event()
    renewal = threading.Thread(target=_renew, args=(name, holder, released), daemon=True)
    renewal.start()
    try:
        yield True
    finally:
        released.set()
        renewal.join()
        with autocommit() as connection:
            connection.execute(RELEASE, {"name": name, "holder": holder})


def _acquire(name: str, holder: str) -> bool:
    values = {"name": name, "holder": holder, "duration": DURATION}
    with autocommit() as connection:
        return connection.execute(ACQUIRE, values).one_or_none() is not None


def _renew(name: str, holder: str, released: threading.Event) -> None:
    while not released.wait(RENEW_INTERVAL.total_seconds()):
        try:
            is_held = _acquire(name, holder)
        except SQLAlchemyError as error:
            # Not the text, which may quote the address of the database.
            log.warning("cannot renew lease %s yet: %s", name, type(error).__name__)
            continue
        if not is_held:
            log.warning("lease %s expired and was taken over", name)
            return
