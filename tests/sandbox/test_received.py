import pytest

from sandbox.received import MAX_TEXT_CHARACTERS, Received, truncate


def add(received: Received, count: int, **details: object) -> None:
    for number in range(count):
        received.add("gateway", "accepted", ("+12025550123",), f"k-{number}", details)


@pytest.mark.parametrize(
    "limit", [{"max_records": 10}, {"max_memory_bytes": 10 * len(b'{"content": "Hello"}')}]
)
def test_oldest_records_are_dropped_and_counts_stay_exact(limit):
    received = Received(**limit)
    add(received, 25, content="Hello")

    assert [record.seq for record in received.select()] == list(range(16, 26))
    assert [record.seq for record in received.select(after=3, limit=2)] == [16, 17]
    assert [record.seq for record in received.select(after=20, limit=2)] == [21, 22]
    assert [record.seq for record in received.latest(2)] == [25, 24]
    assert received.counts()["total"] == received.counts()["distinct"] == 25


def test_copies_are_counted_by_key_even_after_their_records_are_dropped():
    received = Received(max_records=1)
    copies = []
    for key in "a", "b", "a", None, None:
        received.add("gateway", "accepted", ("+12025550123",), key, {})
        copies.append(received.latest(1)[0].copy)

    assert copies == [1, 1, 2, 1, 1]
    assert (received.counts()["total"], received.counts()["distinct"]) == (5, 4)


def test_mail_sent_again_only_to_missed_recipients_is_not_a_copy():
    received = Received()
    for to in "ann@example.org", "bob@example.org", "ann@example.org":
        received.add("smtp", "accepted", (to,), "<1@example.com>", {})

    assert (received.counts()["total"], received.counts()["distinct"]) == (3, 2)


def test_sequence_numbers_continue_after_clear():
    received = Received()
    add(received, 3)
    received.clear()
    add(received, 1)

    assert [record.seq for record in received.select(after=3)] == [4]


def test_long_text_is_truncated():
    assert len(truncate("x" * 10_000)) == MAX_TEXT_CHARACTERS
