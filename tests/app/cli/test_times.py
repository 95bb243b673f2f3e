"""Times as options of commands."""

from datetime import UTC, datetime, timedelta

import click
import pytest

from app.cli.times import Time


def test_times_are_absolute_or_relative_and_in_utc_by_default() -> None:
    def today() -> datetime:
        return datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)

    before = datetime.now(UTC), today()
    failures = []
    for text, expected in (
        ("2026-11-22", "2026-11-22T00:00:00+00:00"),
        ("2026-11-22T14:00", "2026-11-22T14:00:00+00:00"),
        ("2026-11-22 14:00:05", "2026-11-22T14:00:05+00:00"),
        ("2026-11-22T14:00:00Z", "2026-11-22T14:00:00+00:00"),
        ("2026-11-22T14:00:00+02:00", "2026-11-22T12:00:00+00:00"),
        ("today", None),
        ("yesterday", timedelta(days=1)),
        ("2h", timedelta(hours=2)),
    ):
        result = Time().convert(text, None, None)
        if isinstance(expected, str):
            met = result == expected
        else:
            now = 0 if text.endswith("h") else 1
            after = (datetime.now(UTC), today())[now]
            ago = expected or timedelta()
            met = before[now] - ago <= datetime.fromisoformat(result) <= after - ago
        if not met:
            failures.append(f"{text}: {result}")
    assert not failures


def test_other_texts_are_invalid() -> None:
    for text in ("often", "", "2026-13-01", "0h", "2h ago", "0001-01-01T00:00+23:00"):
        with pytest.raises(click.BadParameter, match="not a time"):
            Time().convert(text, None, None)
