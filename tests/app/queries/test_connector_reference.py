from datetime import timedelta
from typing import ClassVar

from app.queries.connector_reference import errors_table, settings_table
from connectors.base import (
    Connector,
    ConnectorSettings,
    ErrorCode,
    Misconfigured,
    Rejected,
    Unavailable,
    Uncertain,
)


class Limits(ConnectorSettings):
    seconds: float = 0.5
    """How long to wait."""


class Settings(ConnectorSettings):
    url: str
    """The URL | the
    host."""
    is_fast: bool = True
    """Whether it is fast."""
    keys: tuple[str, ...] = ()
    """The keys."""
    statuses: frozenset[int] = frozenset({202, 200})
    """The statuses."""
    mode: str = "a"
    """The mode."""
    limits: Limits | None = None
    """The limits."""


class Example(Connector[Settings]):
    Settings = Settings
    errors: ClassVar[tuple[ErrorCode, ...]] = (
        ErrorCode("1", Misconfigured, "wrong key"),
        ErrorCode("2", Uncertain, "timed out"),
        ErrorCode("3", Rejected, "too long"),
        ErrorCode("4", Rejected, "opted out", suppress="opt_out"),
        ErrorCode("5", Unavailable, "busy"),
        ErrorCode("6", Unavailable, "busy", timedelta(seconds=90)),
        ErrorCode("7", Unavailable, "busy", timedelta(minutes=10)),
        ErrorCode("8", Unavailable, "busy", timedelta(hours=2)),
    )


class WithoutErrors(Connector[Settings]):
    Settings = Settings


def test_every_setting_has_a_row() -> None:
    assert settings_table(Example).splitlines() == [
        "| Setting | Default | Description |",
        "|---|---|---|",
        r"| `url` | required | The URL \| the host. |",
        "| `is_fast` | `true` | Whether it is fast. |",
        "| `keys` | – | The keys. |",
        "| `statuses` | `[200, 202]` | The statuses. |",
        "| `mode` | `a` | The mode. |",
        "| `limits` | – | The limits. |",
        "| `limits.seconds` | `0.5` | How long to wait. |",
    ]


def test_every_error_has_a_row() -> None:
    assert errors_table(Example).splitlines() == [
        "| Code | Meaning | The message |",
        "|---|---|---|",
        "| `1` | wrong key | waits; the agent is paused |",
        "| `2` | timed out | may have been sent; `on_uncertain` decides |",
        "| `3` | too long | fails |",
        "| `4` | opted out | fails; the recipient is suppressed |",
        "| `5` | busy | is retried |",
        "| `6` | busy | is retried after at least 90 s |",
        "| `7` | busy | is retried after at least 10 min |",
        "| `8` | busy | is retried after at least 2 h |",
    ]
    assert errors_table(WithoutErrors).startswith("The provider has no error codes")
