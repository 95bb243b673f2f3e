"""How fast each client may submit. Counted in Redis, and not at all while that is out of reach:
what must not fail with the broker is the acceptance of messages."""

import math
import time
from datetime import timedelta
from http import HTTPStatus

import redis
import structlog

from app import limits
from app.api.problems import ProblemError
from app.redis import make_client
from app.settings import Settings

TIMEOUT_SECONDS = 0.25
PAUSE = timedelta(seconds=10)
log = structlog.stdlib.get_logger(__name__)


class Throttle:
    """The limits of the settings, for each client by itself. Thread-safe.

    Raises ValueError where the settings name a limit that is none.
    """

    def __init__(self, settings: Settings) -> None:
        self._limits = tuple(limits.parse(text) for text in settings.submit_rate_limits)
        # Asked once and briefly: a frozen Redis may cost one request a quarter of a second, and
        # no further one until the pause is over.
        self._limiter = limits.RateLimiter(
            make_client("throttle", timeout_seconds=TIMEOUT_SECONDS, retries=0)
        )
        self._not_before = time.monotonic()

    def count(self, client: str) -> None:
        """Count one request of `client`. Raises ProblemError 429 where it is one too many."""
        if time.monotonic() < self._not_before:
            return
        try:
            room = self._limiter.take({f"submit/{client}": self._limits})
        except redis.RedisError as error:
            self._not_before = time.monotonic() + PAUSE.total_seconds()
            log.warning(
                "Redis is out of reach: submissions are not limited",
                error=type(error).__name__,
                seconds=PAUSE.total_seconds(),
            )
            return
        if not room.free:
            raise ProblemError(
                HTTPStatus.TOO_MANY_REQUESTS,
                f"more than {' and '.join(map(str, self._limits))}",
                headers={"Retry-After": str(max(1, math.ceil(room.wait.total_seconds())))},
            )
