"""Messages between the same participants are one conversation, whoever writes to whom."""

from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import pytest
from sqlalchemy import Connection, text

from app import conversations, db

ANN, BOB = "+4915112345678", "+4915187654321"


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (("sms", ANN, BOB), ("sms", BOB, ANN)),
        (("sms", ANN, BOB), ("mms", BOB, ANN)),
        (("email", "ann@a.com", "bob@b.com"), ("email", "bob@b.com", "ann@a.com")),
        (("email", "Ann <ann@a.com>", "bob@b.com"), ("email", "B. <bob@b.com>", "Ä <ann@a.com>")),
        (("email", "Ann@A.com", "bob@b.com"), ("email", "ann@a.com", "BOB@b.com")),
        (("push", "token", None), ("push", "token", None)),
        (("push", "token", None), ("push", "token", "token")),
        (("push", "token", ""), ("push", "token", None)),
    ],
)
def test_what_belongs_together_has_one_key(
    one: tuple[str, str, str | None], other: tuple[str, str, str | None]
) -> None:
    assert conversations.key(*one) == conversations.key(*other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (("sms", ANN, BOB), ("sms", ANN, None)),
        (("sms", ANN, BOB), ("sms", ANN, "ACME")),
        (("sms", ANN, BOB), ("push", ANN, BOB)),
        (("push", "token", None), ("push", "TOKEN", None)),
        (("push", "x", None), ("http", "x", None)),
        (("email", "ann@a.com", "bob@b.com"), ("email", "ann+x@a.com", "bob@b.com")),
    ],
)
def test_what_does_not_belong_together_has_two(
    one: tuple[str, str, str | None], other: tuple[str, str, str | None]
) -> None:
    assert conversations.key(*one) != conversations.key(*other)


def rows(connection: Connection) -> list[tuple[str, list[str]]]:
    found = connection.execute(
        text("SELECT channel_family, participants FROM conversations ORDER BY id")
    )
    return [(row.channel_family, row.participants) for row in found]


def test_a_conversation_is_made_once_and_found_ever_after(connection: Connection) -> None:
    first = conversations.key("sms", ANN, BOB)
    second = conversations.key("email", "ann@a.com", "bob@b.com")
    made = conversations.find_or_create(connection, [first, second, first])
    assert len({*made.values()}) == 2
    assert conversations.find_or_create(connection, [second, first]) == made
    assert sorted(rows(connection)) == [
        ("email", ["ann@a.com", "bob@b.com"]),
        ("phone", [ANN, BOB]),
    ]


def test_participants_may_hold_any_character_of_an_array(connection: Connection) -> None:
    keys = [conversations.key("http", name, None) for name in ('a,"b"', "{c}", "\\d", "NULL", "ö")]
    made = conversations.find_or_create(connection, keys)
    assert len({*made.values()}) == len(keys)
    assert conversations.find_or_create(connection, keys) == made


def test_nothing_asked_makes_nothing(connection: Connection) -> None:
    assert conversations.find_or_create(connection, []) == {}
    assert rows(connection) == []


def test_first_messages_at_the_same_moment_share_one_conversation(database: str) -> None:
    threads, rounds = 6, 10
    keys = [
        [conversations.key("sms", f"{ANN}{n}{m}", BOB) for m in range(5)] for n in range(rounds)
    ]
    together = Barrier(threads)

    def write(number: int) -> list[dict[conversations.Key, int]]:
        found = []
        for wanted in keys:
            together.wait()
            with db.transaction() as connection:
                # Each in an order of its own, which must not lead to a deadlock.
                order = wanted[number % 5 :] + wanted[: number % 5]
                found.append(conversations.find_or_create(connection, order))
        return found

    with ThreadPoolExecutor(threads) as pool:
        answers = [future.result() for future in [pool.submit(write, n) for n in range(threads)]]
    assert all(answer == answers[0] for answer in answers)
    with db.autocommit() as connection:
        assert len(rows(connection)) == 5 * rounds


def test_a_conversation_that_another_transaction_is_making_is_waited_for(database: str) -> None:
    key = conversations.key("sms", ANN, BOB)
    with ThreadPoolExecutor(1) as pool, db.transaction() as first, db.transaction() as second:
        made = conversations.find_or_create(first, [key])
        waiting = pool.submit(conversations.thread, second, [key])
        first.commit()
        assert waiting.result() == made
