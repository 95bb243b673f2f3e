"""The simulated MTS account and the statuses of its messages."""

from collections import OrderedDict
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from itertools import count

API_KEY = "sandbox-m2m-api-key"
LOGIN = "gw_login"
PASSWORD = "gw_password"

UNDELIVERABLE = "79990000301"
BLACKLISTED = "79990000410"

MAX_TEXT_CHARACTERS = 1000
MAX_MESSAGES = 100_000
MOSCOW = timezone(timedelta(hours=3))


@dataclass
class Sent:
    """A message with its statuses so far (M2M names) and their times, oldest first."""

    msid: str
    naming: str
    client_id: str
    history: list[tuple[str, datetime]] = field(default_factory=list)


class Messages:
    """The messages of the account.

    Each query advances a message by one status: Pending, Sent, then Delivered, or NotDelivered for
    the number `UNDELIVERABLE`.
    """

    def __init__(self) -> None:
        self._ids = count(2648)
        self._sent: OrderedDict[int, Sent] = OrderedDict()

    def add(self, msid: str, naming: str, client_id: str = "") -> int:
        """Add a message and return its id."""
        message_id = next(self._ids)
        self._sent[message_id] = Sent(msid, naming, client_id)
        if len(self._sent) > MAX_MESSAGES:
            self._sent.popitem(last=False)
        return message_id

    def has(self, message_id: int) -> bool:
        """Return whether there is a message with this id."""
        return message_id in self._sent

    def advance(self, message_id: int) -> Sent:
        """Advance a message by one status and return it. Raises KeyError if there is none."""
        sent = self._sent[message_id]
        end = "NotDelivered" if sent.msid == UNDELIVERABLE else "Delivered"
        steps = ("Pending", "Sent", end)
        if len(sent.history) < len(steps):
            sent.history.append((steps[len(sent.history)], datetime.now(MOSCOW)))
        return sent
