"""`postroom up`."""

import sys

import click

from app.local.up import up as run
from app.settings import settings


@click.command()
def up() -> None:
    """Run Postroom and its servers on this machine until Ctrl-C.

    It brings its own PostgreSQL and Valkey, unless DATABASE_URL and REDIS_URL name others, and
    simulated providers. Messages and the first API token are stored in POSTROOM_VAR.
    """
    sys.exit(run(settings()))
