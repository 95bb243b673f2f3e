"""A correction of kombu's Redis transport, without which a broker outage ends the worker."""

from typing import Any

from kombu.transport import TRANSPORT_ALIASES, redis


class Channel(redis.Channel):
    """A channel that remembers the address of Redis.

    Celery 5.7.0 closes a broken connection with `collect()` before it restores reserved tasks,
    such as a waiting retry. `collect()` has cleared the address by then, and the worker exits with
    "'NoneType' object has no attribute 'hostname'".
    """

    def __init__(self, connection: Any, **kwargs: Any) -> None:
        self._address = connection.client
        super().__init__(connection, **kwargs)

    def _connparams(self, asynchronous: bool = False) -> Any:  # noqa: FBT001, FBT002 - kombu's own
        transport = self.connection
        if transport.client is not None:
            return super()._connparams(asynchronous=asynchronous)
        transport.client = self._address
        try:
            return super()._connparams(asynchronous=asynchronous)
        finally:
            transport.client = None


class Transport(redis.Transport):
    """The Redis transport with the corrected channel."""

    Channel = Channel


def install() -> None:
    """Use `Transport` for all redis:// and rediss:// brokers of this process."""
    TRANSPORT_ALIASES["redis"] = TRANSPORT_ALIASES["rediss"] = f"{__name__}:Transport"
