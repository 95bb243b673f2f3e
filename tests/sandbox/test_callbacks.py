import asyncio
import socket
from collections.abc import Iterator

import pytest

from sandbox import callbacks
from sandbox.callbacks import CallbackRequest, call_back


@pytest.fixture(autouse=True)
def no_gaps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(callbacks, "GAPS_SECONDS", (0, 0, 0))


@pytest.fixture
def closed_port() -> Iterator[int]:
    """A port where nobody listens, and nobody else will meanwhile."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        yield bound.getsockname()[1]


def make(*requests: CallbackRequest) -> None:
    """Has the calls made, and waits until they are."""

    async def run() -> None:
        call_back(*requests)
        await asyncio.gather(*callbacks._running)

    asyncio.run(run())


def test_a_call_arrives_as_it_was_made(listener) -> None:
    make(CallbackRequest(f"{listener.url}/a%20b?c=%C3%A9", b"\x00body", {"X-Signature": "s"}))

    call = listener.next_call()
    assert (call.method, call.path, call.body) == ("POST", "/a%20b?c=%C3%A9", b"\x00body")
    assert call.headers["x-signature"] == "s"
    assert call.headers["host"] == listener.url.removeprefix("http://")


def test_a_call_may_be_a_get(listener) -> None:
    make(CallbackRequest(listener.url, method="GET"))

    call = listener.next_call()
    assert (call.method, call.path, call.body) == ("GET", "/", b"")


def test_calls_keep_their_order_and_wait_for_the_one_before(listener) -> None:
    listener.statuses = [500, 503, 204]

    make(*(CallbackRequest(f"{listener.url}/{name}") for name in "ab"))

    assert [listener.next_call().path for _ in range(4)] == ["/a", "/a", "/a", "/b"]
    assert listener.calls.empty()


@pytest.mark.parametrize(
    ("statuses", "tries"),
    [
        ([200], 1),
        ([302], 1),
        ([403], 1),
        ([429, 204], 2),
        ([500, 500, 500, 204], 4),
        ([500, 500, 500, 500, 204], 4),
    ],
)
def test_a_call_is_repeated_up_to_three_times(listener, statuses, tries, capsys) -> None:
    listener.statuses = statuses[:]

    make(CallbackRequest(f"{listener.url}/x?secret=1"))

    assert listener.calls.qsize() == tries
    given_up = statuses[:4] == [500] * 4
    said = f"sandbox: gave up to call {listener.url}/x: 500\n"
    assert capsys.readouterr().err == (said if given_up else "")


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("/path", "no http"),
        ("ftp://127.0.0.1/", "no http"),
        ("http://127.0.0.1:99999999/", "ort"),
        ("http://127.0.0.1:{closed}/", "failed"),
    ],
)
def test_a_call_that_cannot_be_made_is_told_and_keeps_no_other_from_being_made(
    listener, closed_port, url, reason, capsys
) -> None:
    make(CallbackRequest(url.format(closed=closed_port)), CallbackRequest(listener.url))

    assert listener.next_call().path == "/"
    said = capsys.readouterr().err
    assert said.startswith("sandbox: gave up to call ")
    assert reason in said.lower()
