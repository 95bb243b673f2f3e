"""The revisions create what the models describe, can be undone, and keep existing rows."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier
from typing import Any

import pytest
from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, create_engine, event, text
from sqlalchemy.exc import OperationalError

from app import db, migrate
from app.models import Base
from migrations import newest_revision

OBJECTS = text("""
SELECT 'relation ' || relname FROM pg_class
WHERE relnamespace = 'public'::regnamespace AND relname <> 'alembic_version'
    AND relname <> 'alembic_version_pkc'
UNION ALL SELECT 'function ' || proname FROM pg_proc WHERE pronamespace = 'public'::regnamespace
UNION ALL SELECT 'type ' || typname FROM pg_type
WHERE typnamespace = 'public'::regnamespace AND typname NOT LIKE '%alembic_version'
""")
STATUSES = text("SELECT id, status, due_at FROM messages ORDER BY id")
TABLES = text("""
SELECT tablename FROM pg_tables WHERE schemaname = 'public' AND tablename <> 'alembic_version'
""")
CONSTRAINTS = text("""
SELECT conrelid::regclass::text, conname, contype::text, pg_get_constraintdef(oid)
FROM pg_constraint
WHERE connamespace = 'public'::regnamespace AND conrelid <> 0
    AND conrelid::regclass::text <> 'alembic_version'
    AND contype <> 'n'  -- only PostgreSQL 18 names NOT NULL constraints
ORDER BY 1, 2
""")
INDEXES = text("""
SELECT indexname, indexdef FROM pg_indexes
WHERE schemaname = 'public' AND tablename <> 'alembic_version' ORDER BY 1
""")
OPTIONS = text("SELECT relname, reloptions FROM pg_class WHERE reloptions IS NOT NULL ORDER BY 1")

# A database of version 0.1, with a message in every state that it knew.
ROWS_OF_0004 = """
INSERT INTO conversations (channel_family, participants) VALUES ('phone', '{+12025550100}');
INSERT INTO messages (
    channel, agent, recipient, conversation_id, status, reason, due_at, claim, lease_until,
    attempts, finished_at, sent_at
) VALUES
    ('sms', 'gateway', '+1', 1, 'outbox', 'accepted', now() + interval '1 day', 0, NULL, 0, NULL,
     NULL),
    ('sms', 'gateway', '+2', 1, 'queued', NULL, now(), 1, now() + interval '45 s', 0, NULL, NULL),
    ('sms', 'gateway', '+3', 1, 'sending', NULL, now(), 2, now() + interval '45 s', 1, NULL, NULL),
    ('sms', 'gateway', '+4', 1, 'retry', '503', now() + interval '1 h', 3, NULL, 1, NULL, NULL),
    ('sms', 'gateway', '+5', 1, 'sent', NULL, now(), 1, NULL, 1, now(), now()),
    ('sms', 'gateway', '+6', 1, 'failed', '400', now(), 1, NULL, 1, now(), NULL);
INSERT INTO messages (
    direction, channel, agent, sender, recipient, status, finished_at, inbound_key
) VALUES ('inbound', 'sms', 'gateway', '+1', '+7', 'received', now(), 'key');
INSERT INTO messages (channel, recipient, body) VALUES ('sms', '+8', 'inserted by SQL');
INSERT INTO attempts (message_id, claim, agent, outcome) VALUES (5, 1, 'gateway', 'accepted');
INSERT INTO receipts (agent, key, kind, message_id) VALUES ('gateway', 'key', 'sent', 5);
INSERT INTO polls (message_id, agent, due_at) VALUES (5, 'gateway', now());
INSERT INTO attachments (message_id, name, content) VALUES (1, 'a.txt', 'a');
INSERT INTO suppressions (channel_family, address, reason, created_by)
VALUES ('phone', '+9', 'opt_out', 'ann');
INSERT INTO agent_states (agent, paused, reason, changed_by)
VALUES ('gateway', true, '401', 'postroom');
INSERT INTO api_tokens (name, hash, hint, scopes) VALUES ('shop', 'hash', 'postroom_', '{read}');
"""


def objects() -> set[str]:
    with db.autocommit() as connection:
        return {*connection.execute(OBJECTS).scalars()}


def make_config(connection: Connection) -> Config:
    config = Config(attributes={"connection": connection})
    config.set_main_option("script_location", str(Path(migrate.__file__).parents[1] / "migrations"))
    return config


def test_database_is_created_removed_and_created_again(empty_database: str) -> None:
    assert migrate.current_revision() != newest_revision()
    migrate.upgrade()
    assert migrate.current_revision() == newest_revision()
    created = objects()
    assert {f"relation {name}" for name in Base.metadata.tables} <= created

    migrate.downgrade("base")
    assert objects() == set()
    assert migrate.current_revision() != newest_revision()

    migrate.upgrade()
    assert objects() == created
    assert migrate.current_revision() == newest_revision()


def test_upgrading_a_current_database_changes_nothing(connection: Connection) -> None:
    connection.execute(
        text("INSERT INTO messages (channel, recipient, body) VALUES ('http','a','b')")
    )
    before = objects()
    migrate.upgrade()
    assert objects() == before
    assert connection.execute(text("SELECT count(*) FROM messages")).scalar_one() == 1


def test_rows_of_version_0_1_are_kept(empty_database: str) -> None:
    migrate.upgrade("0004")
    with db.transaction() as connection:
        connection.execute(text(ROWS_OF_0004))
        tables = [*connection.execute(TABLES).scalars()]
        counts = {name: _count(connection, name) for name in tables}
        statuses = connection.execute(STATUSES).all()
    assert all(count for name, count in counts.items() if name != "idempotency_keys")

    migrate.upgrade()
    with db.transaction() as connection:
        assert {name: _count(connection, name) for name in tables} == counts
        assert connection.execute(STATUSES).all() == statuses
        columns = text("SELECT claim_token, send_at = due_at FROM messages ORDER BY id")
        tokens, scheduled = zip(*connection.execute(columns), strict=True)
        assert tokens == (0, 1, 2, 3, 1, 1, 0, 0)
        assert scheduled == (True, *[None] * 7)

    migrate.downgrade("0004")
    with db.transaction() as connection:
        assert {name: _count(connection, name) for name in tables} == counts


def _count(connection: Connection, table: str) -> int:
    return int(connection.execute(text(f"SELECT count(*) FROM {table}")).scalar_one())


def test_models_and_migrations_agree(empty_database: str) -> None:
    """Alembic compares no check constraints, conditions of indexes and storage options."""
    migrate.upgrade()
    catalogues = (CONSTRAINTS, INDEXES, OPTIONS)
    with db.engine().connect() as connection:
        command.check(make_config(connection))
    with db.autocommit() as connection:
        migrated = [connection.execute(catalogue).all() for catalogue in catalogues]
        migrate.downgrade("base")
        Base.metadata.create_all(connection)
        created = [connection.execute(catalogue).all() for catalogue in catalogues]
    assert created == migrated
    assert all(migrated)


def test_there_is_one_newest_revision(database: str) -> None:
    with db.engine().connect() as connection:
        script = ScriptDirectory.from_config(make_config(connection))
    assert script.get_heads() == [newest_revision()]
    assert len(script.get_bases()) == 1


def test_concurrent_migrations_wait_for_the_first(empty_database: str) -> None:
    together = Barrier(3)

    def upgrade() -> None:
        together.wait()
        migrate.upgrade()

    with ThreadPoolExecutor(3) as pool:
        for future in [pool.submit(upgrade) for _ in range(3)]:
            future.result()
    assert migrate.current_revision() == newest_revision()


def test_revision_does_not_wait_long_for_a_table_lock(
    empty_database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    migrate.upgrade()
    migrate.downgrade("0009")  # whose downgrade changes a table that refers to messages
    monkeypatch.setattr(migrate, "LOCK_TIMEOUT", "50ms")
    with db.transaction() as sender:
        sender.execute(text("LOCK TABLE messages IN ACCESS SHARE MODE"))
        with pytest.raises(OperationalError, match="lock timeout"):
            migrate.downgrade("base")
    assert migrate.current_revision() == "0009", "a revision that gave up is undone completely"
    migrate.downgrade("base")
    assert migrate.current_revision() != newest_revision()


def test_migration_leaves_no_setting_and_no_lock_behind(empty_database: str) -> None:
    show = text(
        "SELECT current_setting('lock_timeout'), current_setting('statement_timeout'),"
        " (SELECT count(*) FROM pg_locks WHERE locktype = 'advisory')"
    )
    with db.autocommit() as connection:
        before = connection.execute(show).one()
    seen = []

    @event.listens_for(db.engine(), "before_cursor_execute")
    def note(conn: Any, cursor: Any, statement: str, *_: Any) -> None:
        if "CREATE TABLE messages" in statement:
            cursor.execute("SHOW lock_timeout")
            seen.append(cursor.fetchone()[0])

    migrate.upgrade()
    assert seen == ["10s"]
    with db.autocommit() as connection:
        assert connection.execute(show).one() == before


def test_migration_can_be_repeated_after_a_failure(empty_database: str) -> None:
    engine = create_engine(empty_database, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.execute(text("CREATE TABLE message_events ()"))
        with pytest.raises(Exception, match="already exists"):
            migrate.upgrade()
        connection.execute(text("DROP TABLE message_events"))
    engine.dispose()
    assert objects() == set()
    migrate.upgrade()
    assert migrate.current_revision() == newest_revision()
