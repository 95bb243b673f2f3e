"""The application for gunicorn: `gunicorn app.api.wsgi:app`."""

import sys

from pydantic import ValidationError
from pydantic_settings import SettingsError

from app import logs
from app.agents import AgentsError
from app.api.factory import create_app
from app.settings import describe_errors

APP_LOAD_ERROR = 4  # makes gunicorn exit instead of restarting its workers forever


def _describe(error: Exception) -> str:
    if isinstance(error, ValidationError | SettingsError):
        return "\n".join(describe_errors(error))
    return str(error)


try:
    logs.configure()
    app = create_app()
except (AgentsError, ValueError) as error:
    sys.stderr.write(f"postroom cannot start:\n{_describe(error)}\n")
    sys.exit(APP_LOAD_ERROR)
