"""A client of the API that costs little, since it shares the machine with what it measures."""

import asyncio
import json
import re
import time

from app.settings import settings

RECIPIENTS = 1000
TO_EACH_RECIPIENT = "+1202555{:04d}"


class Client:
    """One connection, kept alive."""

    def __init__(
        self, token: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        self._token = token
        self._reader = reader
        self._writer = writer

    @classmethod
    async def connect(cls, token: str) -> "Client":
        """A client of the API that the settings of this process name."""
        return cls(token, *await asyncio.open_connection(settings().host, settings().port))

    async def submit(self, number: int) -> None:
        """Submit an SMS whose body is `number`, to one recipient in 1,000. Raises RuntimeError
        for any answer but 202."""
        to = TO_EACH_RECIPIENT.format(number % RECIPIENTS)
        body = json.dumps({"channel": "sms", "to": to, "body": str(number)})
        self._writer.write(
            f"POST /api/messages HTTP/1.1\r\nHost: {settings().host}\r\n"
            f"Authorization: Bearer {self._token}\r\nContent-Type: application/json\r\n"
            f"Content-Length: {len(body)}\r\n\r\n{body}".encode()
        )
        head = (await self._reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        length = re.search(r"(?i)\r\ncontent-length: (\d+)\r\n", head)
        answer = await self._reader.readexactly(int(length[1]) if length else 0)
        if not head.startswith("HTTP/1.1 202 "):
            raise RuntimeError(f"a submission was answered with {head}{answer.decode()}")

    def close(self) -> None:
        """Close the connection."""
        self._writer.close()


async def submit_paced(
    token: str, numbers: range, each_second: int, connections: int
) -> list[tuple[float, float]]:
    """Submit the messages of these `numbers`, one after another at a steady pace, whether those
    before are answered or not. Returns of each, in seconds since the epoch, when it was to be
    submitted and when it was answered."""
    clients = [await Client.connect(token) for _ in range(connections)]
    begun = time.time()
    due = [begun + place / each_second for place in range(len(numbers))]
    answered = dict.fromkeys(numbers, 0.0)

    async def submit(client: Client, places: range) -> None:
        for place in places:
            await asyncio.sleep(due[place] - time.time())
            await client.submit(numbers[place])
            answered[numbers[place]] = time.time()

    async with asyncio.TaskGroup() as group:
        for first, client in enumerate(clients):
            group.create_task(submit(client, range(first, len(numbers), connections)))
    for client in clients:
        client.close()
    return list(zip(due, answered.values(), strict=True))


async def submit_steadily(token: str, first: int, seconds: float, connections: int) -> list[float]:
    """Submit messages from number `first` on for `seconds`, over each connection the next one as
    soon as the last is answered. Returns how many seconds each took."""
    durations: list[float] = []
    until = time.monotonic() + seconds

    async def submit(number: int) -> None:
        client = await Client.connect(token)
        while (begun := time.monotonic()) < until:
            await client.submit(number)
            durations.append(time.monotonic() - begun)
            number += connections
        client.close()

    async with asyncio.TaskGroup() as group:
        for place in range(connections):
            group.create_task(submit(first + place))
    return durations
