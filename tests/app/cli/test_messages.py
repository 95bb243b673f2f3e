"""`postroom cancel` and `postroom replay`."""

import json
from collections.abc import Callable

import pytest
from sqlalchemy import Connection, text

from app.outbox import replay as replays
from tests.app.cli.conftest import Insert, Postroom

StatusOf = Callable[[int], str]


def test_cancel_takes_back_what_nobody_has_begun_to_send(
    postroom: Postroom, insert: Insert, status_of: StatusOf
) -> None:
    waiting, queued, sending = insert(), insert("queued"), insert("sending")
    result = postroom("cancel", waiting, queued, sending, 99, "--json")
    assert json.loads(result.stdout) == {
        "cancelled": [waiting, queued],
        "refused": {str(sending): "sending"},
        "missing": [99],
    }
    assert result.exit_code == 1
    assert result.stderr == (
        f"postroom: message {sending} is sending\npostroom: there is no message 99\n"
    )
    assert [status_of(one) for one in (waiting, queued, sending)] == [
        "cancelled", "cancelled", "sending"
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("command", "status", "words", "exit_code", "stdout"),
    [
        ("cancel", "outbox", ["1"], 0, "Cancelled: 1\n"),
        ("cancel", "sent", ["1"], 1, ""),
        ("cancel", "outbox", ["2"], 3, ""),
        ("cancel", "outbox", ["one"], 2, ""),
        ("cancel", "outbox", ["9223372036854775808"], 2, ""),
        ("cancel", "outbox", [], 2, ""),
        ("replay", "failed", ["1"], 0, "Replayed: 1\n"),
        ("replay", "delivered", ["1"], 0, "Replayed: 1\n"),
        ("replay", "sending", ["1"], 1, ""),
        ("replay", "failed", ["2"], 3, ""),
        ("replay", "failed", [], 2, ""),
        ("replay", "failed", ["1", "--agent", "gateway"], 2, ""),
        ("replay", "failed", ["--agent", "smtp"], 3, ""),
        ("replay", "failed", ["--agent", "NOT A CODE"], 2, ""),
        ("replay", "failed", ["--since", "yesterday"], 2, ""),
        ("replay", "failed", ["--status", "sent"], 2, ""),
    ],
)
def test_exit_codes(
    postroom: Postroom,
    insert: Insert,
    command: str,
    status: str,
    words: list[str],
    exit_code: int,
    stdout: str,
) -> None:
    assert insert(status) == 1
    result = postroom(command, *words)
    assert (result.exit_code, result.stdout) == (exit_code, stdout)
    assert bool(result.stderr) == (exit_code != 0)


@pytest.mark.parametrize(
    ("words", "found"),
    [
        (["--agent", "gateway"], {"failed"}),
        (["--channel", "sms", "--status", "failed", "--status", "unknown"], {"failed", "unknown"}),
        (["--status", "cancelled"], {"cancelled"}),
        (["--agent", "gateway", "--since", "2026-01-01T00:00:00Z"], {"failed"}),
        (["--channel", "mms"], {"failed mms"}),
        (["--until", "2020-01-01T00:00:00Z"], {"failed long ago"}),
    ],
)
def test_a_filter_finds_what_it_says_and_changes_nothing_until_yes(
    postroom: Postroom, insert: Insert, status_of: StatusOf, words: list[str], found: set[str]
) -> None:
    ids = {name: insert(name) for name in ("failed", "unknown", "cancelled", "delivered", "sent")}
    ids["failed mms"] = insert("failed", channel="mms", agent="smtp")
    ids["failed long ago"] = insert(
        "failed", agent="smtp", channel="email", created_at="2019-06-01T00:00:00Z"
    )
    before = {name: status_of(number) for name, number in ids.items()}

    looked = json.loads(postroom("replay", *words, "--json").stdout)
    assert (looked["dry_run"], looked["total"], looked["replayed"]) == (True, len(found), 0)
    assert {name: status_of(number) for name, number in ids.items()} == before

    done = json.loads(postroom("replay", *words, "--yes", "--json").stdout)
    assert (done["dry_run"], done["total"], done["replayed"]) == (False, len(found), len(found))
    assert {one["agent"] for one in done["matched"]} <= {"gateway", "smtp"}
    after = {name for name, number in ids.items() if status_of(number) == "outbox"}
    assert after == found


def test_people_see_what_would_be_replayed_and_then_that_it_was(
    postroom: Postroom, insert: Insert
) -> None:
    insert("failed")
    insert("failed", agent="smtp", channel="email")
    looked = postroom("replay", "--status", "failed")
    assert [line.split() for line in looked.stdout.splitlines() if "failed" in line] == [
        ["gateway", "failed", "1"],
        ["smtp", "failed", "1"],
    ]
    assert looked.stdout.endswith("Nothing was done; --yes replays them.\n")
    done = postroom("replay", "--status", "failed", "--yes")
    assert done.stdout.endswith("2 messages are in the outbox again.\n")
    assert done.stderr == ""


def test_many_messages_are_replayed_in_bounded_batches(
    postroom: Postroom, connection: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(replays, "REPLAY_BATCH", 10)
    connection.execute(
        text("""
            INSERT INTO messages (channel, agent, recipient, status, finished_at)
            SELECT 'sms', 'gateway', '+18045551234', 'failed', now() FROM generate_series(1, 25)
        """)
    )
    done = json.loads(postroom("replay", "--agent", "gateway", "--yes", "--json").stdout)
    assert done["replayed"] == 25
    transactions = text("SELECT count(DISTINCT xmin::text) FROM messages WHERE status = 'outbox'")
    assert connection.execute(transactions).scalar_one() == 3
