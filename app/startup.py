"""Report a configuration that a process cannot start with."""

from pydantic import ValidationError
from pydantic_settings import SettingsError

from app.settings import describe_errors


def describe_start_error(error: Exception) -> str:
    """Return why a process cannot start: a line for each problem of the settings or agents."""
    if isinstance(error, ValidationError | SettingsError):
        lines = describe_errors(error)
    else:
        lines = str(error).splitlines()
    return "\n".join(f"postroom cannot start: {line}" for line in lines)
