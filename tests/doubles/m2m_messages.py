"""The account at MTS that the sandbox plays, and what became of its messages."""

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
MESSAGES_REMEMBERED = 100_000
MOSCOW = timezone(timedelta(hours=3))


@dataclass
class Sent:
    """A message and the statuses it has had, by the names of the M2M service, oldest first, each
    with its time."""

    msid: str
    naming: str
    client_id: str
    history: list[tuple[str, datetime]] = field(default_factory=list)


class Messages:
    """The messages of the account. Each inquiry finds a message one step further: Pending, Sent,
    then Delivered, or NotDelivered for `UNDELIVERABLE`."""

    def __init__(self) -> None:
        self._ids = count(2648)
        self._sent: OrderedDict[int, Sent] = OrderedDict()

    def add(self, msid: str, naming: str, client_id: str = "") -> int:
        """Takes a message and returns the id it gets."""
        message_id = next(self._ids)
        self._sent[message_id] = Sent(msid, naming, client_id)
        if len(self._sent) > MESSAGES_REMEMBERED:
            self._sent.popitem(last=False)
        return message_id

    def knows(self, message_id: int) -> bool:
        """Whether a message got this id."""
        return message_id in self._sent

    def ask(self, message_id: int) -> Sent:
        """The message, moved on by one step. Raises KeyError."""
        sent = self._sent[message_id]
        end = "NotDelivered" if sent.msid == UNDELIVERABLE else "Delivered"
        steps = ("Pending", "Sent", end)
        if len(sent.history) < len(steps):
            sent.history.append((steps[len(sent.history)], datetime.now(MOSCOW)))
        return sent
