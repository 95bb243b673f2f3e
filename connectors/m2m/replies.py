"""What both services of MTS write alike."""

from datetime import UTC, datetime


def e164(number: str) -> str:
    """A number as MTS writes it, without its plus, in E.164; anything else, e.g. a name, as it
    is."""
    return f"+{number}" if number.isascii() and number.isdecimal() and len(number) > 9 else number


def moment(text: object) -> datetime | None:
    """An ISO 8601 time in UTC. None for anything else, and for a time without an offset: MTS does
    not say which zone it is in."""
    if not isinstance(text, str):
        return None
    try:
        time = datetime.fromisoformat(text.strip())
    except ValueError:
        return None
    # .NET writes a time that there is none of as the first or last that it knows.
    is_real = time.tzinfo is not None and 1 < time.year < 9999
    return time.astimezone(UTC) if is_real else None
