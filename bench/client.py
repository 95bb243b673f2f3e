"""A client of the API that costs little, since it shares the machine with what it measures."""

import asyncio
import json
import re
import time
from collections.abc import Awaitable, Callable, Mapping

from app.settings import settings

RECIPIENTS = 1000
TO_EACH_RECIPIENT = "+1202555{:04d}"


class Client:
    """One connection to the API that the settings of this process name, kept alive."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    @classmethod
    async def connect(cls) -> "Client":
        """A client that is connected."""
        return cls(*await asyncio.open_connection(settings().host, settings().port))

    async def post(self, path: str, headers: Mapping[str, str], body: bytes) -> None:
        """Make one request. Raises RuntimeError for any answer but a 2xx."""
        lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        self._writer.write(
            f"POST {path} HTTP/1.1\r\nHost: {settings().host}\r\n"
            f"{lines}Content-Length: {len(body)}\r\n\r\n".encode()
            + body
        )
        head = (await self._reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        length = re.search(r"(?i)\r\ncontent-length: (\d+)\r\n", head)
        answer = await self._reader.readexactly(int(length[1]) if length else 0)
        if not head.startswith("HTTP/1.1 2"):
            raise RuntimeError(f"{path} was answered with {head}{answer.decode()}")

    async def submit(self, token: str, number: int, agent: str = "gateway") -> None:
        """Submit an SMS whose body is `number`, to one recipient in 1,000."""
        to = TO_EACH_RECIPIENT.format(number % RECIPIENTS)
        message = {"channel": "sms", "agent": agent, "to": to, "body": str(number)}
        headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
        await self.post("/api/messages", headers, json.dumps(message).encode())

    def close(self) -> None:
        """Close the connection."""
        self._writer.close()


async def submit_paced(
    token: str, numbers: range, each_second: int, connections: int, agent: str = "gateway"
) -> list[tuple[float, float]]:
    """Submit the messages of these `numbers`, one after another at a steady pace, whether those
    before are answered or not. Returns of each, in seconds since the epoch, when it was to be
    submitted and when it was answered."""
    clients = [await Client.connect() for _ in range(connections)]
    begun = time.time()
    due = [begun + place / each_second for place in range(len(numbers))]
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
    """Have `call` made with the numbers from `first` on for `seconds`, over each connection the
    next one as soon as the last is answered. Returns how many seconds each took."""
    durations: list[float] = []
    until = time.monotonic() + seconds

    async def go_on(number: int) -> None:
        client = await Client.connect()
        while (begun := time.monotonic()) < until:
            await call(client, number)
            durations.append(time.monotonic() - begun)
            number += connections
        client.close()

    async with asyncio.TaskGroup() as group:
        for place in range(connections):
            group.create_task(go_on(first + place))
    return durations
