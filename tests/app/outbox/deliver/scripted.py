"""A connector with scripted answers, and the agents that use it."""

from datetime import timedelta
from typing import Any, ClassVar

from app.outbox.deliver import Deliverer
from connectors.base import (
    Accepted,
    Connector,
    ConnectorSettings,
    OutboundMessage,
)
from tests.app.outbox.driver import Outbox

QUEUE_LEASE = timedelta(seconds=45)
MAX_ATTEMPTS = 3
SECOND = timedelta(seconds=1)

FILE = """
[agents.gateway]
connector = "scripted"
retry = { attempts = 3, base_seconds = 4, factor = 5, jitter = 0 }

[agents.holding]
connector = "scripted"
on_uncertain = "hold"

[agents.limited]
connector = "scripted"
rate_limits = ["2/hour"]
profiles = { default = {}, eu = { rate_limits = ["1/day"] } }

[agents.strict]
connector = "scripted"
rate_limits = ["1/hour"]
over_limit = "reject"
"""


class Scripted(Connector[ConnectorSettings]):
    """Gives the answers of the test and records the messages."""

    Settings = ConnectorSettings
    channels = frozenset({"sms"})
    answers: ClassVar[list[Any]] = []
    given: ClassVar[list[OutboundMessage]] = []

    @property
    def send_timeout(self) -> timedelta:
        return timedelta(seconds=20)

    def send(self, message: OutboundMessage) -> Accepted:
        self.given.append(message)
        answer = self.answers.pop(0) if self.answers else Accepted()
        if callable(answer):
            answer = answer()
        if isinstance(answer, BaseException):
            raise answer
        assert isinstance(answer, Accepted)
        return answer


def deliver(outbox: Outbox, deliverer: Deliverer, number: int, agent: str = "gateway") -> Any:
    """Claim the message and deliver it."""
    [claim] = [one for one in outbox.claim(**{agent: 100}) if one.message_id == number]
    return deliverer.deliver(claim)
