"""Keep the content of messages out of PostgreSQL's own log.

By default PostgreSQL logs every failed statement with its values, and the whole row that violates
a constraint. See "Error Reporting and Logging" in the PostgreSQL documentation.
"""

from sqlalchemy import Connection, text

PRIVATE_SETTINGS = {
    "log_min_error_statement": "panic",  # without the failed statement
    "log_error_verbosity": "terse",  # without the row, key or value that caused an error
    "log_parameter_max_length_on_error": "0",
}
"""Settings of the servers that Postroom runs: errors are logged without values."""

_ALLOWED = {
    **{name: frozenset({value}) for name, value in PRIVATE_SETTINGS.items()},
    "log_statement": frozenset({"none", "ddl"}),
    "log_min_duration_statement": frozenset({"-1"}),
    "log_min_duration_sample": frozenset({"-1"}),
}


def find_exposures(connection: Connection) -> list[str]:
    """Return a warning if the server writes message content to its log, or nothing."""
    rows = connection.execute(
        text("SELECT name, setting FROM pg_settings WHERE name = ANY(:names) ORDER BY name"),
        {"names": [*_ALLOWED]},
    )
    exposing = [
        f"{row.name} = {row.setting}" for row in rows if row.setting not in _ALLOWED[row.name]
    ]
    if not exposing:
        return []
    advice = ", ".join(f"{name} = {value}" for name, value in PRIVATE_SETTINGS.items())
    exposed = f"the server may write message content to its log ({', '.join(exposing)})"
    return [f"database: {exposed}. Set {advice}, and do not log statements."]
