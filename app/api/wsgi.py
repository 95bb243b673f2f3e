"""The application for gunicorn: `gunicorn app.api.wsgi:app`."""

import sys

from pydantic import ValidationError

from app import logs
from app.agents import AgentsError
from app.api.factory import create_app

APP_LOAD_ERROR = 4  # makes gunicorn exit instead of restarting its workers forever


def _without_values(error: Exception) -> str:
    """Format an error; without the values of settings, which may be secrets."""
    if not isinstance(error, ValidationError):
        return str(error)
    details = error.errors(include_input=False, include_url=False)
    return "\n".join(f"{'.'.join(map(str, detail['loc']))}: {detail['msg']}" for detail in details)


try:
    logs.configure()
    app = create_app()
except (AgentsError, ValueError) as error:
    sys.stderr.write(f"postroom cannot start:\n{_without_values(error)}\n")
    sys.exit(APP_LOAD_ERROR)
