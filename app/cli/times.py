"""Durations and times as options of commands."""

import re
from datetime import UTC, datetime, timedelta
from typing import Any

import click

_UNITS = {"m": "minutes", "h": "hours", "d": "days", "w": "weeks"}


class Duration(click.ParamType[timedelta]):
    """A duration in minutes, hours, days or weeks, such as 90d."""

    name = "duration"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> timedelta:
        """Parse the duration."""
        duration = _duration(str(value))
        if duration is None:
            self.fail("not a duration. Examples: 45m, 12h, 90d, 52w.", param, ctx)
        return duration


class Time(click.ParamType[str]):
    """A time: a date, a date and time, `today`, `yesterday`, or a duration ago such as 2h.

    Times without a time zone are in UTC, as in all output.
    """

    name = "time"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Return the time in ISO 8601, in UTC."""
        try:
            time = _time(str(value))
        except (OverflowError, ValueError):
            self.fail(
                "not a time. Examples: 2h, today, yesterday, 2026-11-22, 2026-11-22T14:00Z.",
                param,
                ctx,
            )
        return time.isoformat()


def _time(value: str) -> datetime:
    now = datetime.now(UTC)
    midnight = now.replace(hour=0, minute=0, second=0, microsecond=0)
    if value == "today":
        return midnight
    if value == "yesterday":
        return midnight - timedelta(days=1)
    if ago := _duration(value):
        return now - ago
    time = datetime.fromisoformat(value)
    return time.replace(tzinfo=UTC) if time.tzinfo is None else time.astimezone(UTC)


def _duration(value: str) -> timedelta | None:
    found = re.fullmatch(r"([1-9]\d{0,4})([mhdw])", value)
    return timedelta(**{_UNITS[found[2]]: int(found[1])}) if found else None
