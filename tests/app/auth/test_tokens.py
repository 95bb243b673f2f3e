from datetime import UTC, datetime, timedelta
from hashlib import sha256

import pytest
from sqlalchemy import Connection, event, text

from app import db
from app.auth import tokens as auth

PAST = datetime(2020, 1, 1, tzinfo=UTC)


def _make(connection: Connection, **changes: object) -> str:
    return auth.create_token(connection, **{"name": "shop", "scopes": ["submit"], **changes})  # type: ignore[arg-type]


def test_a_token_is_found_by_what_was_shown_once(connection: Connection) -> None:
    token = _make(connection, scopes=["submit", "read"])
    assert token.startswith("postroom_")
    assert auth.find(connection, token) == auth.Client("shop", frozenset({"submit", "read"}))


def test_only_the_hash_of_a_token_is_kept(connection: Connection) -> None:
    token = _make(connection)
    row = connection.execute(text("SELECT * FROM api_tokens")).one()
    assert bytes(row.hash) == sha256(token.encode()).digest()
    assert token.startswith(row.hint)
    assert len(row.hint) < 16
    assert token not in repr(row._mapping)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ("expires_at = now() - interval '1 second'", "expired"),
        ("revoked_at = now()", "revoked"),
        ("hash = '\\x00'", "unknown"),
    ],
)
def test_a_token_that_is_good_no_more_is_refused(
    connection: Connection, change: str, reason: str
) -> None:
    token = _make(connection)
    connection.execute(text(f"UPDATE api_tokens SET {change}"))
    with pytest.raises(auth.TokenError, match=reason):
        auth.find(connection, token)
    assert connection.execute(text("SELECT last_used_at FROM api_tokens")).scalar_one() is None


@pytest.mark.parametrize("token", ["", "postroom_", "postroom_\udcff", "x" * 10_000, "\0"])
def test_any_text_may_be_asked_for(connection: Connection, token: str) -> None:
    with pytest.raises(auth.TokenError, match="unknown"):
        auth.find(connection, token)


def test_a_name_must_be_the_tokens_own(connection: Connection) -> None:
    token = _make(connection)
    _make(connection, name="other")
    assert auth.find(connection, token, name="shop").name == "shop"
    for name in ("other", "", "shöp"):
        with pytest.raises(auth.TokenError, match="unknown"):
            auth.find(connection, token, name=name)


def test_two_tokens_of_a_name_are_good_until_one_is_revoked(connection: Connection) -> None:
    old, new = _make(connection), _make(connection)
    assert auth.find(connection, old) == auth.find(connection, new)
    first = auth.tokens(connection)[0]
    assert auth.revoke(connection, first.id)
    assert not auth.revoke(connection, first.id)
    with pytest.raises(auth.TokenError, match="revoked"):
        auth.find(connection, old)
    assert auth.find(connection, new).name == "shop"


def test_finding_is_one_statement_that_notes_the_use_once_a_minute(connection: Connection) -> None:
    token = _make(connection)
    statements: list[str] = []

    def count(_connection: object, _cursor: object, statement: str, *_: object) -> None:
        statements.append(statement)

    event.listen(connection, "before_cursor_execute", count)
    auth.find(connection, token)
    event.remove(connection, "before_cursor_execute", count)
    assert len(statements) == 1

    used = auth.tokens(connection)[0].last_used_at
    assert used is not None
    auth.find(connection, token)
    assert auth.tokens(connection)[0].last_used_at == used
    connection.execute(text("UPDATE api_tokens SET last_used_at = now() - interval '61 seconds'"))
    auth.find(connection, token)
    assert auth.tokens(connection)[0].last_used_at > used


def test_the_use_of_a_token_is_not_held_up_by_a_transaction_that_reads_it(
    connection: Connection,
) -> None:
    token = _make(connection)
    with db.transaction() as other:
        auth.tokens(other)
        assert auth.find(connection, token).name == "shop"


@pytest.mark.parametrize(
    "wrong",
    [
        {"name": ""},
        {"name": "a:b"},
        {"name": "a\nb"},
        {"name": "a" * 101},
        {"scopes": []},
        {"scopes": ["submit", "everything"]},
    ],
)
def test_a_token_that_would_be_of_no_use_is_not_made(
    connection: Connection, wrong: dict[str, object]
) -> None:
    with pytest.raises(ValueError, match="must be"):
        _make(connection, **wrong)
    assert auth.tokens(connection) == []


def test_the_list_shows_everything_but_the_hash(connection: Connection) -> None:
    expiry = datetime.now(UTC) + timedelta(days=1)
    _make(connection, name="a", expires_at=expiry)
    [row] = auth.tokens(connection)
    assert (row.name, row.scopes, row.expires_at) == ("a", ["submit"], expiry)
    assert not hasattr(row, "hash")
