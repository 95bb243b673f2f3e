"""Conversations: messages between the same participants, whoever sends to whom."""

from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

from sqlalchemy import Connection, text

from app import conversations, db
from tests.app.outbox.driver import Outbox

ANN, BOB = "+4915112345678", "+4915187654321"
Arguments = tuple[str, str, str | None]


def test_messages_between_the_same_participants_have_one_key() -> None:
    same: list[tuple[Arguments, Arguments]] = [
        (("sms", ANN, BOB), ("sms", BOB, ANN)),
        (("sms", ANN, BOB), ("mms", BOB, ANN)),
        (("email", "ann@a.com", "bob@b.com"), ("email", "bob@b.com", "ann@a.com")),
        (("email", "Ann <ann@a.com>", "bob@b.com"), ("email", "B. <bob@b.com>", "Ä <ann@a.com>")),
        (("email", "Ann@A.com", "bob@b.com"), ("email", "ann@a.com", "BOB@b.com")),
        (("push", "token", None), ("push", "token", "token")),
        (("push", "token", ""), ("push", "token", None)),
    ]
    different: list[tuple[Arguments, Arguments]] = [
        (("sms", ANN, BOB), ("sms", ANN, None)),
        (("sms", ANN, BOB), ("sms", ANN, "ACME")),
        (("sms", ANN, BOB), ("push", ANN, BOB)),
        (("push", "token", None), ("push", "TOKEN", None)),
        (("push", "x", None), ("http", "x", None)),
        (("email", "ann@a.com", "bob@b.com"), ("email", "ann+x@a.com", "bob@b.com")),
    ]
    key = conversations.key
    assert [pair for pair in same if key(*pair[0]) != key(*pair[1])] == []
    assert [pair for pair in different if key(*pair[0]) == key(*pair[1])] == []


def rows(connection: Connection) -> list[tuple[str, list[str]]]:
    found = connection.execute(
        text("SELECT channel_family, participants FROM conversations ORDER BY channel_family, id")
    )
    return [(row.channel_family, row.participants) for row in found]


def test_conversation_is_created_once_and_found_afterwards(connection: Connection) -> None:
    assert conversations.find_or_create(connection, []) == {}
    first = conversations.key("sms", ANN, BOB)
    second = conversations.key("email", "ann@a.com", "bob@b.com")
    created = conversations.find_or_create(connection, [first, second, first])
    assert len({*created.values()}) == 2
    assert conversations.find_or_create(connection, [second, first]) == created
    assert rows(connection) == [("email", ["ann@a.com", "bob@b.com"]), ("phone", [ANN, BOB])]


def test_participants_may_contain_any_character_of_an_array(connection: Connection) -> None:
    names = ('a,"b"', "{c}", "\\d", "NULL", "ö")
    keys = [conversations.key("http", name, None) for name in names]
    created = conversations.find_or_create(connection, keys)
    assert len({*created.values()}) == len(keys)
    assert conversations.find_or_create(connection, keys) == created


def test_concurrent_transactions_create_a_conversation_once(database: str) -> None:
    threads, rounds = 6, 10
    keys = [
        [conversations.key("sms", f"{ANN}{n}{m}", BOB) for m in range(5)] for n in range(rounds)
    ]
    start = Barrier(threads)

    def create(number: int) -> list[dict[conversations.Key, int]]:
        found = []
        for wanted in keys:
            start.wait()
            with db.transaction() as connection:
                # Each thread has another order, which must not lead to a deadlock.
                order = wanted[number % 5 :] + wanted[: number % 5]
                found.append(conversations.find_or_create(connection, order))
        return found

    with ThreadPoolExecutor(threads) as pool:
        results = [*pool.map(create, range(threads))]
    assert all(result == results[0] for result in results)
    with db.autocommit() as connection:
        assert len(rows(connection)) == 5 * rounds


def test_conversation_of_an_open_transaction_is_waited_for(database: str) -> None:
    key = conversations.key("sms", ANN, BOB)
    with ThreadPoolExecutor(1) as pool, db.transaction() as first, db.transaction() as second:
        created = conversations.find_or_create(first, [key])
        waiting = pool.submit(conversations.find_or_create, second, [key])
        first.commit()
        assert waiting.result() == created


def test_conversation_is_read_up_to_its_last_message_and_never_unread(
    connection: Connection,
) -> None:
    outbox = Outbox(connection)
    first, second = outbox.one(), outbox.one()
    number = outbox.row(first).conversation_id
    read = []
    for up_to in (first, second + 99, first):
        conversations.mark_read(connection, number, up_to)
        read.append(outbox.execute("SELECT read_up_to FROM conversations").scalar_one())
    assert read == [first, second, second]
