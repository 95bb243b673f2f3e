"""Redis as Celery's broker, as far as Postroom has to correct it."""

from typing import Any

from kombu.transport import TRANSPORT_ALIASES, redis


class Channel(redis.Channel):
    """Remembers where Redis is.

    Celery 5.7.0 closes a broken connection with `collect()` before it restores what was
    reserved but not begun, such as a retry that waits; `collect()` has by then forgotten the
    address, and the worker ends with "'NoneType' object has no attribute 'hostname'".
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
    Channel = Channel


def install() -> None:
    """Have every redis:// and rediss:// broker of this process use `Transport`."""
    TRANSPORT_ALIASES["redis"] = TRANSPORT_ALIASES["rediss"] = f"{__name__}:Transport"
