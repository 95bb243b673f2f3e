import pytest

import sandbox.__main__
from sandbox.behaviour import MAGIC_MAILBOXES, MAGIC_NUMBERS
from sandbox.received import TEXT_LIMIT_CHARACTERS, Received, cut


def add(received: Received, count: int, **details: object) -> None:
    for number in range(count):
        received.add("gateway", "accepted", ("+12025550123",), f"k-{number}", details)


@pytest.mark.parametrize(
    "received",
    [
        pytest.param(Received(records_limit=10), id="by number"),
        pytest.param(Received(memory_limit_bytes=10 * len(b'{"content": "Hello"}')), id="by size"),
    ],
)
def test_the_oldest_are_forgotten_and_the_counts_stay_exact(received: Received) -> None:
    add(received, 25, content="Hello")

    assert [record.seq for record in received.select()] == list(range(16, 26))
    assert [record.seq for record in received.select(after=3, limit=2)] == [16, 17]
    assert [record.seq for record in received.select(after=20, limit=2)] == [21, 22]
    assert [record.seq for record in received.latest(2)] == [25, 24]
    assert received.counts()["total"] == received.counts()["distinct"] == 25


def test_a_copy_of_a_forgotten_message_is_still_a_copy() -> None:
    received = Received(records_limit=1)
    add(received, 2)
    add(received, 2)

    assert (received.counts()["total"], received.counts()["distinct"]) == (4, 2)


def test_sequence_numbers_go_on_after_a_clear() -> None:
    received = Received()
    add(received, 3)
    received.clear()
    add(received, 1)

    assert [record.seq for record in received.select(after=3)] == [4]


def test_long_text_is_cut() -> None:
    assert len(cut("x" * 10_000)) == TEXT_LIMIT_CHARACTERS


def test_the_help_names_every_magic_recipient() -> None:
    documented = sandbox.__main__.__doc__ or ""

    for magic in (*MAGIC_NUMBERS, *(f"{mailbox}@" for mailbox in MAGIC_MAILBOXES)):
        assert magic in documented
