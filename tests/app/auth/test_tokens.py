"""API tokens."""

from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import Any

import pytest
from sqlalchemy import Connection, event, text

from app import db
from app.auth import tokens
from app.auth.tokens import Client, TokenError


def _create(connection: Connection, **changes: Any) -> str:
    return tokens.create_token(connection, **{"name": "shop", "scopes": ["submit"], **changes})


def test_token_identifies_its_client(connection: Connection) -> None:
    token = _create(connection, scopes=["submit", "read"])
    assert token.startswith("postroom_")
    assert tokens.find_client(connection, token) == Client("shop", frozenset({"submit", "read"}))


def test_only_the_hash_of_a_token_is_stored(connection: Connection) -> None:
    token = _create(connection)
    row = connection.execute(text("SELECT * FROM api_tokens")).one()
    assert bytes(row.hash) == sha256(token.encode()).digest()
    assert token.startswith(row.hint)
    assert len(row.hint) < 16
    assert token not in repr(row._mapping)


def test_expired_revoked_and_unknown_tokens_are_rejected(connection: Connection) -> None:
    rows = [
        ("expires_at = now() - interval '1 second'", "has expired"),
        ("expires_at = NULL, revoked_at = now()", "has been revoked"),
        ("revoked_at = NULL, hash = '\\x00'", "Invalid credentials"),
    ]
    token = _create(connection)
    for change, reason in rows:
        connection.execute(text(f"UPDATE api_tokens SET {change}"))
        with pytest.raises(TokenError, match=reason):
            tokens.find_client(connection, token)
    assert connection.execute(text("SELECT last_used_at FROM api_tokens")).scalar_one() is None


def test_any_string_can_be_looked_up(connection: Connection) -> None:
    for token in ("", "postroom_", "postroom_\udcff", "x" * 10_000, "\0"):
        with pytest.raises(TokenError, match="Invalid credentials"):
            tokens.find_client(connection, token)


def test_name_must_be_that_of_the_token(connection: Connection) -> None:
    token = _create(connection)
    _create(connection, name="other")
    assert tokens.find_client(connection, token, name="shop").name == "shop"
    for name in ("other", "", "shöp"):
        with pytest.raises(TokenError, match="Invalid credentials"):
            tokens.find_client(connection, token, name=name)


def test_tokens_of_one_name_are_valid_until_each_is_revoked(connection: Connection) -> None:
    old, new = _create(connection), _create(connection)
    assert tokens.find_client(connection, old) == tokens.find_client(connection, new)
    first = tokens.list_tokens(connection)[0]
    assert tokens.revoke(connection, first.id)
    assert not tokens.revoke(connection, first.id)
    with pytest.raises(TokenError, match="revoked"):
        tokens.find_client(connection, old)
    assert tokens.find_client(connection, new).name == "shop"


def test_look_up_is_one_statement_and_another_records_the_use_once_a_minute(
    connection: Connection,
) -> None:
    token = _create(connection)
    statements: list[str] = []

    def record(_connection: object, _cursor: object, statement: str, *_: object) -> None:
        statements.append(statement)

    event.listen(connection, "before_cursor_execute", record)
    tokens.find_client(connection, token)
    assert len(statements) == 2
    tokens.find_client(connection, token)
    event.remove(connection, "before_cursor_execute", record)
    assert len(statements) == 3

    used = tokens.list_tokens(connection)[0].last_used_at
    assert used is not None
    tokens.find_client(connection, token)
    assert tokens.list_tokens(connection)[0].last_used_at == used
    connection.execute(text("UPDATE api_tokens SET last_used_at = now() - interval '61 seconds'"))
    tokens.find_client(connection, token)
    assert tokens.list_tokens(connection)[0].last_used_at > used


def test_transaction_that_reads_tokens_does_not_block_their_use(connection: Connection) -> None:
    token = _create(connection)
    with db.transaction() as other:
        tokens.list_tokens(other)
        assert tokens.find_client(connection, token).name == "shop"


def test_token_with_an_invalid_name_or_scope_is_not_created(connection: Connection) -> None:
    rows: list[dict[str, Any]] = [
        {"name": ""},
        {"name": "a:b"},
        {"name": "a\nb"},
        {"name": "a" * 101},
        {"scopes": []},
        {"scopes": ["submit", "everything"]},
    ]
    for invalid in rows:
        with pytest.raises(ValueError, match="must be"):
            _create(connection, **invalid)
    assert tokens.list_tokens(connection) == []


def test_listed_tokens_do_not_contain_the_hash(connection: Connection) -> None:
    expires_at = datetime.now(UTC) + timedelta(days=1)
    _create(connection, name="a", expires_at=expires_at)
    [row] = tokens.list_tokens(connection)
    assert (row.name, row.scopes, row.expires_at) == ("a", ["submit"], expires_at)
    assert not hasattr(row, "hash")
