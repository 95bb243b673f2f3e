"""A client of the API that uses little CPU, since it shares the machine with the servers."""

import asyncio
import json
import re
import time
from collections.abc import Awaitable, Callable, Mapping

from app.settings import settings

RECIPIENTS = 1000
RECIPIENT = "+1202555{:04d}"


class Client:
    """A persistent connection to the API of the settings."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    @classmethod
    async def connect(cls) -> "Client":
        """Connect a client."""
        return cls(*await asyncio.open_connection(settings().host, settings().port))

    async def post(self, path: str, headers: Mapping[str, str], body: bytes) -> None:
        """Make a request.

        Raises:
            RuntimeError: The response is not a 2xx.
        """
        lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        self._writer.write(
            f"POST {path} HTTP/1.1\r\nHost: {settings().host}\r\n"
            f"{lines}Content-Length: {len(body)}\r\n\r\n".encode()
            + body
        )
        head = (await self._reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        length = re.search(r"(?i)\r\ncontent-length: (\d+)\r\n", head)
        response = await self._reader.readexactly(int(length[1]) if length else 0)
        if not head.startswith("HTTP/1.1 2"):
            raise RuntimeError(f"{path} returned {head}{response.decode()}")

    async def submit(self, token: str, number: int, agent: str = "gateway") -> None:
        """Submit an SMS with the body `number` to one of 1,000 recipients."""
        to = RECIPIENT.format(number % RECIPIENTS)
        message = {"channel": "sms", "agent": agent, "to": to, "body": str(number)}
        headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
        await self.post("/api/messages", headers, json.dumps(message).encode())

    def close(self) -> None:
        """Close the connection."""
        self._writer.close()


async def submit_paced(
    token: str, numbers: range, each_second: int, connections: int, agent: str = "gateway"
) -> list[tuple[float, float]]:
    """Submit messages at a steady pace, whether or not earlier ones have been answered.

    Returns:
        For each message, the times at which it was due and at which it was answered, in seconds
        since the epoch.
    """
    clients = [await Client.connect() for _ in range(connections)]
    started = time.time()
    due = [started + place / each_second for place in range(len(numbers))]
    answered = dict.fromkeys(numbers, 0.0)

    async def submit(client: Client, places: range) -> None:
        for place in places:
            await asyncio.sleep(due[place] - time.time())
            await client.submit(token, numbers[place], agent)
            answered[numbers[place]] = time.time()

    async with asyncio.TaskGroup() as group:
        for first, client in enumerate(clients):
            group.create_task(submit(client, range(first, len(numbers), connections)))
    for client in clients:
        client.close()
    return list(zip(due, answered.values(), strict=True))


async def call_steadily(
    call: Callable[[Client, int], Awaitable[None]], first: int, seconds: float, connections: int
) -> list[float]:
    """Make calls for some seconds, one after the other on each connection.

    Args:
        call: Makes one call, given its number.
        first: The number of the first call.
        seconds: For how long.
        connections: How many at once.

    Returns:
        The duration of each call in seconds.
    """
    durations: list[float] = []
    until = time.monotonic() + seconds

    async def call_repeatedly(number: int) -> None:
        client = await Client.connect()
        while (started := time.monotonic()) < until:
            await call(client, number)
            durations.append(time.monotonic() - started)
            number += connections
        client.close()

    async with asyncio.TaskGroup() as group:
        for place in range(connections):
            group.create_task(call_repeatedly(first + place))
    return durations
