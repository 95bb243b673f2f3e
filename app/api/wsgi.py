"""The application that gunicorn serves: `gunicorn app.api.wsgi:app`."""

import sys

from pydantic import ValidationError

from app import logs
from app.agents import AgentsError
from app.api.factory import create_app

APP_LOAD_ERROR = 4  # tells gunicorn to end, and not to start one worker after the other


def _without_values(error: Exception) -> str:
    """What is wrong; of settings not the values, which may be secrets."""
    if not isinstance(error, ValidationError):
        return str(error)
    faults = error.errors(include_input=False, include_url=False)
    return "\n".join(f"{'.'.join(map(str, fault['loc']))}: {fault['msg']}" for fault in faults)


try:
    logs.configure()
    app = create_app()
except (AgentsError, ValueError) as error:
    sys.stderr.write(f"postroom cannot start:\n{_without_values(error)}\n")
    sys.exit(APP_LOAD_ERROR)
