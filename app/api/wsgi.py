"""The application for gunicorn: `gunicorn app.api.wsgi:app`."""

import sys

from app import logs
from app.agents import AgentsError
from app.api.factory import create_app
from app.startup import describe_start_error

APP_LOAD_ERROR = 4  # makes gunicorn exit instead of restarting its workers forever


try:
    logs.configure()
    app = create_app()
except (AgentsError, ValueError) as error:
    sys.stderr.write(describe_start_error(error) + "\n")
    sys.exit(APP_LOAD_ERROR)
