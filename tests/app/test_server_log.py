"""Message content in PostgreSQL's own log."""

from sqlalchemy import Connection, text

from app.server_log import find_exposures


def test_servers_that_postroom_runs_expose_nothing(connection: Connection) -> None:
    assert find_exposures(connection) == []


def test_settings_that_log_statements_are_named(connection: Connection) -> None:
    pg_settings = """
        CREATE TEMPORARY TABLE pg_settings AS
        SELECT * FROM (VALUES ('log_min_error_statement', 'error'), ('log_statement', 'all'),
            ('log_error_verbosity', 'terse'), ('log_min_duration_statement', '-1'))
            AS of_another_server (name, setting)
    """
    connection.execute(text(pg_settings))
    connection.execute(text("SET search_path = pg_temp, pg_catalog, public"))
    try:
        [warning] = find_exposures(connection)
    finally:
        connection.execute(text("RESET search_path"))
        connection.execute(text("DROP TABLE pg_temp.pg_settings"))
    assert "(log_min_error_statement = error, log_statement = all)" in warning
    assert "Set log_min_error_statement = panic" in warning
