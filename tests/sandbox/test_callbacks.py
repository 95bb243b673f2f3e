import asyncio
import socket
from collections.abc import Iterator

import pytest

from sandbox import callbacks
from sandbox.callbacks import CallbackRequest, send_callbacks


@pytest.fixture(autouse=True)
def no_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(callbacks, "WAIT_SECONDS", (0, 0, 0, 0))


@pytest.fixture
def closed_port() -> Iterator[int]:
    """A port that refuses connections and that nobody else can take."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        yield bound.getsockname()[1]


def send(*requests: CallbackRequest) -> None:
    """Send the callbacks and wait until they have been sent."""

    async def run() -> None:
        send_callbacks(*requests)
        await asyncio.gather(*callbacks._running)

    asyncio.run(run())


def test_callback_is_sent_unchanged(listener):
    send(
        CallbackRequest(f"{listener.url}/a%20b?c=%C3%A9", b"\x00body", {"X-Signature": "s"}),
        CallbackRequest(listener.url, method="GET"),
    )

    first, second = listener.next_call(), listener.next_call()
    assert (first.method, first.path, first.body) == ("POST", "/a%20b?c=%C3%A9", b"\x00body")
    assert first.headers["x-signature"] == "s"
    assert first.headers["host"] == listener.url.removeprefix("http://")
    assert (second.method, second.path, second.body) == ("GET", "/", b"")


def test_callbacks_are_sent_in_order_and_wait_for_the_previous_one(listener):
    listener.statuses = [500, 503, 204]

    send(*(CallbackRequest(f"{listener.url}/{name}") for name in "ab"))

    assert [listener.next_call().path for _ in range(4)] == ["/a", "/a", "/a", "/b"]
    assert listener.calls.empty()


def test_callback_is_repeated_up_to_three_times(listener, capsys):
    failures = []
    for statuses, attempts in [
        ([200], 1),
        ([302], 1),
        ([403], 1),
        ([429, 204], 2),
        ([500, 500, 500, 204], 4),
        ([500, 500, 500, 500], 4),
    ]:
        listener.statuses = statuses[:]
        send(CallbackRequest(f"{listener.url}/x?secret=1"))
        found = [listener.next_call() for _ in range(listener.calls.qsize())]
        stderr = capsys.readouterr().err
        gave_up = f"sandbox: gave up calling {listener.url}/x: 500\n"
        if len(found) != attempts or stderr != (gave_up if statuses[-1] == 500 else ""):
            failures.append((statuses, len(found), stderr))

    assert not failures


def test_callback_that_cannot_be_sent_is_reported_and_the_next_one_is_sent(
    listener, closed_port, capsys
):
    failures = []
    for url in "/path", "ftp://127.0.0.1/", "http://127.0.0.1:99999/", "http://127.0.0.1:{closed}/":
        send(CallbackRequest(url.format(closed=closed_port)), CallbackRequest(listener.url))
        stderr = capsys.readouterr().err
        if listener.calls.qsize() != 1 or not stderr.startswith("sandbox: gave up calling "):
            failures.append((url, stderr))
        listener.next_call()

    assert not failures
