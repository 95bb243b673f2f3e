"""`postroom suppressions`."""

import json

from sqlalchemy import Connection, text

from app import suppression
from tests.app.cli.conftest import Postroom, check_exit_codes

PHONE = "+18045551234"


def test_address_is_added_listed_and_removed(postroom: Postroom, database: str) -> None:
    added = postroom(
        "suppressions", "add", "+1 (804) 555-1234", "--channel", "sms",
        "--reason", "opt_out", "--detail", "by letter",
    )  # fmt: skip
    assert (added.exit_code, added.stdout) == (0, f"Suppressed {PHONE} as suppression 1.\n")
    shown = postroom("suppressions", "list").stdout
    assert shown.splitlines()[-1].split()[:6] == ["1", "phone", PHONE, "opt_out", "by", "letter"]
    assert "postroom command" in shown
    removed = postroom("suppressions", "remove", 1)
    assert removed.exit_code == 0
    assert removed.stdout == f"Removed suppression 1: {PHONE} can receive messages again.\n"
    assert postroom("suppressions", "list", "--json").stdout == "[]\n"


def test_entries_are_printed_as_json(postroom: Postroom, database: str) -> None:
    words = ("Ann <ANN@example.com>", "--channel", "email", "--json")
    added = json.loads(postroom("suppressions", "add", *words).stdout)
    expected = {
        "id": 1, "channel_family": "email", "address": "ann@example.com", "reason": "manual",
        "detail": None, "agent": None, "message_id": None, "created_by": "postroom command",
    }  # fmt: skip
    assert {name: added[name] for name in expected} == expected
    [listed] = json.loads(postroom("suppressions", "list", "--json").stdout)
    removed = json.loads(postroom("suppressions", "remove", 1, "--json").stdout)
    for entry in (listed, removed):
        assert {name: entry[name] for name in expected} == expected


def test_list_can_be_filtered(postroom: Postroom, connection: Connection) -> None:
    for channel, address in (("sms", PHONE), ("sms", "+18045551235")):
        key = suppression.key(channel, address)
        suppression.add(connection, key, reason="opt_out", by="ann")
    key = suppression.key("email", "ann@example.com")
    suppression.add(connection, key, reason="complaint", by="ann")
    failures = []
    for arguments, ids in (
        ((), [3, 2, 1]),
        (("--channel", "mms"), [2, 1]),
        (("--reason", "complaint"), [3]),
        (("--address", "Ann <ann@EXAMPLE.com>"), [3]),
        (("--address", PHONE, "--channel", "email"), []),
    ):
        listed = json.loads(postroom("suppressions", "list", *arguments, "--json").stdout)
        if [entry["id"] for entry in listed] != ids:
            failures.append((arguments, listed))
    assert not failures


def test_long_list_is_shown_completely(postroom: Postroom, connection: Connection) -> None:
    connection.execute(
        text(
            "INSERT INTO suppressions (channel_family, address, reason, created_by)"
            " SELECT 'push', n, 'dead_address', 'ann' FROM generate_series(1, 450) AS n"
        )
    )
    listed = json.loads(postroom("suppressions", "list", "--json").stdout)
    assert [entry["id"] for entry in listed] == [*range(450, 0, -1)]


def test_message_to_a_suppressed_address_is_rejected(
    postroom: Postroom, connection: Connection
) -> None:
    postroom("suppressions", "add", PHONE, "--channel", "sms")
    sent = postroom("send", "--channel", "sms", "--to", PHONE, "--body", "hi")
    assert (sent.exit_code, sent.stdout) == (1, "")
    assert sent.stderr.startswith(f"postroom: to: {PHONE} has been suppressed since ")
    assert sent.stderr.endswith("remove suppression 1.\n")
    assert connection.execute(text("SELECT count(*) FROM messages")).scalar_one() == 0


def test_exit_codes(postroom: Postroom, database: str) -> None:
    add = ("suppressions", "add", PHONE)
    assert not check_exit_codes(
        postroom,
        [
            (("suppressions", "remove", 4711), 3, "postroom: suppression 4711: not found"),
            (("suppressions", "remove", 0), 2, "Invalid value for 'ID'"),
            (
                ("suppressions", "add", "call me", "--channel", "sms"),
                1,
                "postroom: address: not a phone number",
            ),
            ((*add, "--channel", "sms", "--detail", "a\nb"), 1, "postroom: detail: must not"),
            (add, 2, "Missing option '--channel'"),
            ((*add, "--channel", "sms", "--reason", "mood"), 2, "Invalid value for '--reason'"),
            (("suppressions", "list", "--address", ""), 1, "postroom: address: "),
        ],
    )


def test_adding_a_suppressed_address_changes_nothing(postroom: Postroom, database: str) -> None:
    words = ("suppressions", "add", PHONE, "--channel", "sms")
    postroom(*words, "--reason", "opt_out")
    again = postroom(*words, "--reason", "opt_out")
    assert (again.exit_code, again.stdout) == (3, "")
    assert again.stderr.startswith(f"postroom: {PHONE} has been suppressed since ")
    [listed] = json.loads(postroom("suppressions", "list", "--json").stdout)
    assert listed["reason"] == "opt_out"
