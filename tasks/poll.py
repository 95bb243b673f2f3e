"""One round of polling an agent's provider; see `app.inbound.polling`."""

import logging
import threading

from celery import shared_task

from app.agents import agents
from app.inbound import polling

log = logging.getLogger(__name__)


_turns: dict[str, threading.Lock] = {}


@shared_task(name="poll")
def poll(agent: str) -> None:
    """Ask once more, unless the last round still does: a provider that hangs holds one thread of
    this worker, and no more with each tick of beat."""
    turn = _turns.setdefault(agent, threading.Lock())
    if not turn.acquire(blocking=False):
        log.info("agent %s is still being polled", agent)
        return
    try:
        new = polling.poll(agents(), agent)
    finally:
        turn.release()
    if new:
        log.info("agent %s was polled: %s new receipts", agent, new)
