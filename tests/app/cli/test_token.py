"""`postroom token`."""

import json
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import Connection, text

from app.auth import tokens as auth
from tests.app.cli.conftest import Postroom, check_exit_codes


def test_create_prints_only_a_valid_token_on_stdout(
    postroom: Postroom, connection: Connection
) -> None:
    result = postroom("token", "create", "shop", "--scope", "submit", "--scope", "read")
    assert result.exit_code == 0
    assert result.stderr == "Token for shop, valid until it is revoked. It is not shown again:\n"
    made = result.stdout.removesuffix("\n")
    assert auth.find_client(connection, made) == auth.Client("shop", frozenset({"submit", "read"}))


def test_token_expires_after_the_given_duration(postroom: Postroom, connection: Connection) -> None:
    for text_, duration in (
        ("45m", timedelta(minutes=45)),
        ("12h", timedelta(hours=12)),
        ("90d", timedelta(days=90)),
        ("52w", timedelta(weeks=52)),
    ):
        connection.execute(text("DELETE FROM api_tokens"))
        before = datetime.now(UTC)
        create = ("token", "create", "shop", "--scope", "read", "--expires-in", text_, "--json")
        answer = json.loads(postroom(*create).stdout)
        assert answer.keys() == {"name", "scopes", "expires_at", "token"}
        expires_at = datetime.fromisoformat(answer["expires_at"])
        assert before + duration <= expires_at <= datetime.now(UTC) + duration
        stored = connection.execute(text("SELECT expires_at FROM api_tokens")).scalar_one()
        assert stored == expires_at


def test_list_does_not_show_the_tokens(postroom: Postroom, connection: Connection) -> None:
    made = [
        postroom("token", "create", name, "--scope", "read") for name in ("shop", "till", "old")
    ]
    secrets = [result.stdout.strip() for result in made]
    assert postroom("token", "revoke", "1").exit_code == 0
    connection.execute(
        text("UPDATE api_tokens SET expires_at = now() - interval '1 s' WHERE name = 'old'")
    )
    plain, as_json = postroom("token", "list").stdout, postroom("token", "list", "--json").stdout
    listed = json.loads(as_json)
    assert [(one["id"], one["name"], one["state"]) for one in listed] == [
        (1, "shop", "revoked"),
        (2, "till", "valid"),
        (3, "old", "expired"),
    ]
    assert listed[0].keys() == {
        "id", "name", "hint", "scopes", "created_at", "expires_at", "revoked_at", "last_used_at",
        "state",
    }  # fmt: skip
    for secret, one in zip(secrets, listed, strict=True):
        assert f"{one['hint']}…" in plain
        assert secret not in plain + as_json


def test_token_is_revoked_by_id_or_first_characters(
    postroom: Postroom, connection: Connection
) -> None:
    secrets = [
        postroom("token", "create", "shop", "--scope", "read").stdout.strip() for _ in range(2)
    ]
    hint = json.loads(postroom("token", "list", "--json").stdout)[1]["hint"]
    assert postroom("token", "revoke", "1").exit_code == 0
    assert postroom("token", "revoke", f"{hint}…").exit_code == 0
    for secret in secrets:
        with pytest.raises(auth.TokenError, match="revoked"):
            auth.find_client(connection, secret)


def test_ambiguous_first_characters_revoke_no_token(
    postroom: Postroom, connection: Connection
) -> None:
    for _ in range(2):
        postroom("token", "create", "shop", "--scope", "read")
    connection.execute(text("UPDATE api_tokens SET hint = 'postroom_abcde'"))
    result = postroom("token", "revoke", "postroom_abcde")
    assert result.exit_code == 1
    assert "token postroom_abcde: several tokens start with it. Use an id: 1, 2." in result.stderr
    revoked = text("SELECT count(*) FROM api_tokens WHERE revoked_at IS NOT NULL")
    assert connection.execute(revoked).scalar_one() == 0


def test_exit_codes(postroom: Postroom, database: str) -> None:
    create = ("token", "create")
    duration = "not a duration. Examples: 45m"
    assert not check_exit_codes(
        postroom,
        [
            ((*create, "a:b", "--scope", "read"), 1, "without a colon"),
            ((*create, "shop"), 2, "Missing option '--scope'"),
            ((*create, "shop", "--scope", "everything"), 2, "Invalid value for '--scope'"),
            ((*create, "shop", "--scope", "read", "--expires-in", "soon"), 2, duration),
            ((*create, "shop", "--scope", "read", "--expires-in", "0d"), 2, duration),
            (("token", "revoke", "7"), 3, "postroom: token 7: not found, or already revoked"),
            (("token", "revoke", "9" * 30), 3, "not found"),
            (("token", "revoke", "postroom_nope"), 3, "postroom: token postroom_nope: not found"),
        ],
    )
