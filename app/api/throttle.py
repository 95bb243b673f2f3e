"""Rate limits for submissions, for each client by itself.

The limits count messages, and rejected requests as one message. The counts are in Redis. While it
is unavailable, messages are not limited: accepting them must not depend on it.
"""

import math
import time
from datetime import timedelta
from http import HTTPStatus

import redis
import structlog

from app import limits
from app.api.problems import ProblemError
from app.errors import FieldError, InvalidError
from app.redis import make_client
from app.settings import Settings, variable_name

TIMEOUT_SECONDS = 0.25
PAUSE = timedelta(seconds=10)
log = structlog.stdlib.get_logger(__name__)


class Throttle:
    """The submission rate limits of the settings. Thread-safe.

    Raises:
        ValueError: A limit in the settings is malformed.
    """

    def __init__(self, settings: Settings) -> None:
        try:
            self._limits = tuple(limits.parse(text) for text in settings.submit_rate_limits)
        except ValueError as error:
            raise ValueError(f"{variable_name('submit_rate_limits')}: {error}") from None
        # A frozen Redis delays one request by the timeout; the next ones skip it during the pause.
        self._limiter = limits.RateLimiter(
            make_client("throttle", timeout_seconds=TIMEOUT_SECONDS, retries=0)
        )
        self._not_before = time.monotonic()

    def count(self, client: str) -> None:
        """Count a request of `client`, or the first message of a list.

        Raises:
            ProblemError: 429 if the client is over a limit.
        """
        self._count(client, 1)

    def count_rest(self, client: str, length: int) -> None:
        """Count the other messages of a list, all or none of them.

        Raises:
            InvalidError: The list is longer than a limit, so that it would never be accepted.
            ProblemError: 429 if the client would be over a limit.
        """
        for limit in self._limits:
            if length > limit.count:
                reason = f"must be a list of at most {limit.count} messages, by the limit {limit}"
                raise InvalidError([FieldError("", reason)])
        if length > 1:
            self._count(client, length - 1)

    def _count(self, client: str, wanted: int) -> None:
        if time.monotonic() < self._not_before:
            return
        named = {f"submit/{client}": self._limits}
        try:
            capacity = self._limiter.peek(named, wanted)
            if capacity.free == wanted:
                capacity = self._limiter.take(named, wanted)
        except redis.RedisError as error:
            self._not_before = time.monotonic() + PAUSE.total_seconds()
            log.warning(
                "Redis unavailable: submissions are not rate limited",
                error=type(error).__name__,
                seconds=PAUSE.total_seconds(),
            )
            return
        if capacity.free < wanted:
            raise ProblemError(
                HTTPStatus.TOO_MANY_REQUESTS,
                f"Rate limit exceeded: {' and '.join(map(str, self._limits))}."
                " Try again after Retry-After seconds.",
                headers={"Retry-After": str(max(1, math.ceil(capacity.wait.total_seconds())))},
            )
