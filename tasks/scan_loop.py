"""The scan loop of the leading worker: scan on notification and whenever a message is due."""

import logging
import threading
import time
from datetime import timedelta

import redis
from kombu.exceptions import KombuError

from app.inbound.unparsed import NOTIFICATION
from tasks.maintenance import rescue_and_expire
from tasks.notifications import Notifications
from tasks.parse import parse_inbound
from tasks.scan import scan

log = logging.getLogger(__name__)

RESCUE_SECONDS = 5.0
MIN_PAUSE_SECONDS = 0.015
MAX_PAUSE_SECONDS = 0.1
BROKER_OUTAGE_SECONDS = 1.0


def scan_until(stopping: threading.Event, notifications: Notifications) -> None:
    """Scan and rescue until `stopping` is set. Raises psycopg2.Error and SQLAlchemyError."""
    pause = MIN_PAUSE_SECONDS
    payloads: set[str] = set()
    next_rescue = 0.0
    while not stopping.wait(MIN_PAUSE_SECONDS):
        if time.monotonic() >= next_rescue:
            rescue_and_expire()
            next_rescue = time.monotonic() + RESCUE_SECONDS
        try:
            if NOTIFICATION in payloads:
                parse_inbound.delay()
            payloads = set()
            scanned = scan()
        except (KombuError, redis.RedisError, OSError) as error:
            log.warning("cannot scan: Redis is out of reach: %s", str(error).partition("\n")[0])
            stopping.wait(BROKER_OUTAGE_SECONDS)
            continue
        if scanned is None:
            continue
        if scanned.next_due is not None and scanned.next_due <= timedelta(0):
            # Messages wait for capacity. Scan again at once while it becomes free, else back off.
            pause = MIN_PAUSE_SECONDS if scanned.queued else min(pause * 2, MAX_PAUSE_SECONDS)
            if not scanned.queued:
                payloads = notifications.wait(pause, stopping.is_set)
        else:
            until_rescue = next_rescue - time.monotonic()
            until_due = (scanned.next_due or timedelta.max).total_seconds()
            payloads = notifications.wait(min(until_rescue, until_due), stopping.is_set)
