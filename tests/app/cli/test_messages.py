"""`postroom cancel` and `postroom replay`."""

import json
from collections.abc import Callable

import pytest
from sqlalchemy import Connection, text

from app.outbox import replay as replays
from tests.app.cli.conftest import Insert, Postroom

StatusOf = Callable[[int], str]


def test_cancel_reports_messages_that_it_could_not_cancel(
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
        f"postroom: message {sending}: cannot be cancelled, its status is sending\n"
        "postroom: message 99: not found\n"
    )
    assert [status_of(one) for one in (waiting, queued, sending)] == [
        "cancelled", "cancelled", "sending"
    ]  # fmt: skip


def test_exit_code_tells_what_was_changed(postroom: Postroom, connection: Connection) -> None:
    insert = text(
        "INSERT INTO messages (id, channel, agent, recipient, status, finished_at, lease_until)"
        " OVERRIDING SYSTEM VALUE SELECT 1, 'sms', 'gateway', '+18045551234', :status,"
        " CASE WHEN :status IN ('sent', 'failed', 'delivered') THEN now() END,"
        " CASE WHEN :status = 'sending' THEN now() + interval '1 minute' END"
    )
    failures = []
    for command, status, arguments, exit_code, stdout in (
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
        ("replay", "failed", ["--agent", "NOT A NAME"], 1, ""),
        ("replay", "failed", ["--since", "often"], 2, ""),
        ("replay", "failed", ["--status", "sent"], 2, ""),
    ):
        connection.execute(text("DELETE FROM messages"))
        connection.execute(insert, {"status": status})
        result = postroom(command, *arguments)
        if (result.exit_code, result.stdout, bool(result.stderr)) != (
            exit_code, stdout, exit_code != 0
        ):  # fmt: skip
            failures.append(
                f"{command} {arguments} on {status}: {result.exit_code} {result.output}"
            )
    assert not failures


def test_filter_counts_messages_and_replays_them_only_with_yes(
    postroom: Postroom, connection: Connection, insert: Insert, status_of: StatusOf
) -> None:
    for arguments, found in (
        (["--agent", "gateway"], {"failed"}),
        (["--channel", "sms", "--status", "failed", "--status", "unknown"], {"failed", "unknown"}),
        (["--status", "cancelled"], {"cancelled"}),
        (["--agent", "gateway", "--since", "2026-01-01T00:00:00Z"], {"failed"}),
        (["--agent", "gateway", "--since", "2h"], {"failed"}),
        (["--agent", "gateway", "--since", "today"], {"failed"}),
        (["--agent", "gateway", "--since", "2026-01-01"], {"failed"}),
        (["--until", "yesterday"], {"failed long ago"}),
        (["--channel", "mms"], {"failed mms"}),
        (["--until", "2020-01-01T00:00:00Z"], {"failed long ago"}),
    ):
        connection.execute(text("DELETE FROM messages"))
        names = ("failed", "unknown", "cancelled", "delivered", "sent")
        ids = {name: insert(name) for name in names}
        ids["failed mms"] = insert("failed", channel="mms", agent="smtp")
        ids["failed long ago"] = insert(
            "failed", agent="smtp", channel="email", created_at="2019-06-01T00:00:00Z"
        )
        before = {name: status_of(number) for name, number in ids.items()}

        counted = json.loads(postroom("replay", *arguments, "--json").stdout)
        assert (counted["dry_run"], counted["total"], counted["replayed"]) == (True, len(found), 0)
        assert {name: status_of(number) for name, number in ids.items()} == before

        done = json.loads(postroom("replay", *arguments, "--yes", "--json").stdout)
        assert (done["dry_run"], done["total"], done["replayed"]) == (False, len(found), len(found))
        assert {one["agent"] for one in done["matched"]} <= {"gateway", "smtp"}
        replayed = {name for name, number in ids.items() if status_of(number) == "outbox"}
        assert replayed == found, arguments


def test_table_shows_what_would_be_replayed_and_what_was(
    postroom: Postroom, insert: Insert
) -> None:
    insert("failed")
    insert("failed", agent="smtp", channel="email")
    looked = postroom("replay", "--status", "failed")
    assert [line.split() for line in looked.stdout.splitlines() if "failed" in line] == [
        ["gateway", "failed", "1"],
        ["smtp", "failed", "1"],
    ]
    assert looked.stdout.endswith("Nothing was replayed. Add --yes to replay these messages.\n")
    done = postroom("replay", "--status", "failed", "--yes")
    assert done.stdout.endswith("2 messages are in the outbox again.\n")
    assert done.stderr == ""


def test_replay_names_the_statuses_that_its_filter_leaves_out(
    postroom: Postroom, insert: Insert
) -> None:
    for status in ("unknown", "bounced", "bounced", "delivered"):
        insert(status)
    result = postroom("replay", "--agent", "gateway")
    assert (result.exit_code, result.stdout) == (3, "")
    assert result.stderr == (
        "postroom: no message matches with this status. In others: 2 bounced, 1 unknown."
        " Add --status bounced --status unknown.\n"
    )


def test_many_messages_are_replayed_in_batches(
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
