"""`postroom token`: a token is shown once, and never again."""

import json
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import Connection, text

from app.auth import tokens as auth
from tests.app.cli.conftest import Postroom


def test_create_prints_the_token_alone_on_stdout_and_it_opens_the_door(
    postroom: Postroom, connection: Connection
) -> None:
    result = postroom("token", "create", "shop", "--scope", "submit", "--scope", "read")
    assert result.exit_code == 0
    assert result.stderr == ("A token for shop, good until it is revoked. It is not shown again:\n")
    made = result.stdout.removesuffix("\n")
    assert auth.find(connection, made) == auth.Client("shop", frozenset({"submit", "read"}))


@pytest.mark.parametrize(
    ("span", "length"),
    [
        ("45m", timedelta(minutes=45)),
        ("12h", timedelta(hours=12)),
        ("90d", timedelta(days=90)),
        ("52w", timedelta(weeks=52)),
    ],
)
def test_a_token_ends_when_its_span_is_over(
    postroom: Postroom, connection: Connection, span: str, length: timedelta
) -> None:
    before = datetime.now(UTC)
    result = postroom("token", "create", "shop", "--scope", "read", "--expires-in", span, "--json")
    answer = json.loads(result.stdout)
    assert answer.keys() == {"name", "scopes", "expires_at", "token"}
    expires_at = datetime.fromisoformat(answer["expires_at"])
    assert before + length <= expires_at <= datetime.now(UTC) + length
    kept = connection.execute(text("SELECT expires_at FROM api_tokens")).scalar_one()
    assert kept == expires_at


def test_list_shows_all_but_the_token(postroom: Postroom, connection: Connection) -> None:
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


def test_revoke_ends_a_token_named_by_id_or_hint(
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
            auth.find(connection, secret)


def test_a_hint_that_fits_several_tokens_revokes_none(
    postroom: Postroom, connection: Connection
) -> None:
    for _ in range(2):
        postroom("token", "create", "shop", "--scope", "read")
    connection.execute(text("UPDATE api_tokens SET hint = 'postroom_abcde'"))
    result = postroom("token", "revoke", "postroom_abcde")
    assert result.exit_code == 1
    assert "several tokens begin with postroom_abcde; name one by its id: 1, 2" in result.stderr
    revoked = text("SELECT count(*) FROM api_tokens WHERE revoked_at IS NOT NULL")
    assert connection.execute(revoked).scalar_one() == 0


@pytest.mark.parametrize(
    ("words", "exit_code", "stderr"),
    [
        (("create", "a:b", "--scope", "read"), 1, "without a colon"),
        (("create", "shop"), 2, "Missing option '--scope'"),
        (("create", "shop", "--scope", "everything"), 2, "Invalid value for '--scope'"),
        (("create", "shop", "--scope", "read", "--expires-in", "soon"), 2, "a span like 45m"),
        (("create", "shop", "--scope", "read", "--expires-in", "0d"), 2, "a span like 45m"),
        (("revoke", "7"), 3, "there is no token 7 that is still good"),
        (("revoke", "9" * 30), 3, "there is no token"),
        (("revoke", "postroom_nope"), 3, "no token begins with postroom_nope"),
    ],
)
def test_exit_codes(
    postroom: Postroom, database: str, words: tuple[str, ...], exit_code: int, stderr: str
) -> None:
    result = postroom("token", *words)
    assert (result.exit_code, result.stdout) == (exit_code, "")
    assert stderr in result.stderr
