"""The revisions make what the models say, can be undone, and do not get in each other's way."""

import multiprocessing
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

EVERYTHING = text("""
SELECT 'relation ' || relname FROM pg_class
WHERE relnamespace = 'public'::regnamespace AND relname <> 'alembic_version'
    AND relname <> 'alembic_version_pkc'
UNION ALL SELECT 'function ' || proname FROM pg_proc WHERE pronamespace = 'public'::regnamespace
UNION ALL SELECT 'type ' || typname FROM pg_type
WHERE typnamespace = 'public'::regnamespace AND typname NOT LIKE '%alembic_version'
""")


def everything() -> set[str]:
    with db.autocommit() as connection:
        return {*connection.execute(EVERYTHING).scalars()}


def test_the_database_is_made_undone_and_made_again(empty_database: str) -> None:
    assert not migrate.is_current()
    migrate.upgrade()
    assert migrate.is_current()
    made = everything()
    assert {f"relation {name}" for name in Base.metadata.tables} <= made

    migrate.downgrade("base")
    assert everything() == set()
    assert not migrate.is_current()

    migrate.upgrade()
    assert everything() == made
    assert migrate.is_current()


def test_to_upgrade_what_is_current_changes_nothing(connection: Connection) -> None:
    connection.execute(
        text("INSERT INTO messages (channel, recipient, body) VALUES ('http','a','b')")
    )
    before = everything()
    migrate.upgrade()
    assert everything() == before
    assert connection.execute(text("SELECT count(*) FROM messages")).scalar_one() == 1


def _configured(connection: Connection) -> Config:
    config = Config(attributes={"connection": connection})
    config.set_main_option("script_location", str(Path(migrate.__file__).parents[1] / "migrations"))
    return config


def test_models_and_migrations_agree(database: str) -> None:
    with db.engine().connect() as connection:
        command.check(_configured(connection))


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


@pytest.mark.parametrize(
    "catalogue", [CONSTRAINTS, INDEXES, OPTIONS], ids=["constraints", "indexes", "options"]
)
def test_models_and_migrations_agree_on_what_alembic_does_not_compare(
    empty_database: str, catalogue: Any
) -> None:
    """Check constraints, conditions of indexes and storage: compared as PostgreSQL tells them."""
    migrate.upgrade()
    with db.autocommit() as connection:
        migrated = connection.execute(catalogue).all()
        migrate.downgrade("base")
        Base.metadata.create_all(connection)
        assert connection.execute(catalogue).all() == migrated
    assert migrated


def test_there_is_one_newest_revision(database: str) -> None:
    with db.engine().connect() as connection:
        script = ScriptDirectory.from_config(_configured(connection))
    assert script.get_heads() == [newest_revision()]
    assert len(script.get_bases()) == 1


def _upgrade() -> None:
    migrate.upgrade()


def test_processes_that_start_together_all_find_it_migrated(empty_database: str) -> None:
    spawning = multiprocessing.get_context("spawn")
    processes = [spawning.Process(target=_upgrade) for _ in range(3)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    assert [process.exitcode for process in processes] == [0, 0, 0]
    assert migrate.is_current()


def test_threads_that_start_together_wait_for_the_first(empty_database: str) -> None:
    together = Barrier(3)

    def upgrade() -> None:
        together.wait()
        migrate.upgrade()

    with ThreadPoolExecutor(3) as pool:
        for future in [pool.submit(upgrade) for _ in range(3)]:
            future.result()
    assert migrate.is_current()


def test_a_revision_waits_for_no_table_lock_for_long(
    empty_database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    migrate.upgrade()
    monkeypatch.setattr(migrate, "LOCK_TIMEOUT", "50ms")
    with db.transaction() as sender:
        sender.execute(text("LOCK TABLE messages IN ACCESS SHARE MODE"))
        with pytest.raises(OperationalError, match="lock timeout"):
            migrate.downgrade("base")
    migrate.upgrade()  # would fail where a revision was undone in part
    assert migrate.is_current()
    migrate.downgrade("base")
    assert not migrate.is_current()


def test_a_migration_leaves_no_setting_and_no_lock_behind(empty_database: str) -> None:
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


def test_a_migration_that_fails_lets_the_next_one_try(empty_database: str) -> None:
    engine = create_engine(empty_database, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.execute(text("CREATE TABLE message_events ()"))
        with pytest.raises(Exception, match="already exists"):
            migrate.upgrade()
        connection.execute(text("DROP TABLE message_events"))
    engine.dispose()
    assert everything() == set()
    migrate.upgrade()
    assert migrate.is_current()
