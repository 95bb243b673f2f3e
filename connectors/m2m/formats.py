"""Phone numbers and timestamps as both services of MTS write them."""

from datetime import UTC, datetime


def e164(number: str) -> str:
    """Return a number in E.164. MTS omits the plus.

    Short codes and alphanumeric names are returned unchanged.
    """
    return f"+{number}" if number.isascii() and number.isdecimal() and len(number) > 9 else number


def parse_timestamp(text: object) -> datetime | None:
    """Return an ISO 8601 timestamp in UTC, or None if it is invalid or has no UTC offset.

    MTS does not document the time zone of timestamps without an offset.
    """
    if not isinstance(text, str):
        return None
    try:
        timestamp = datetime.fromisoformat(text.strip())
    except ValueError:
        return None
    # .NET represents a missing timestamp as its minimum or maximum value.
    is_present = timestamp.tzinfo is not None and 1 < timestamp.year < 9999
    return timestamp.astimezone(UTC) if is_present else None
