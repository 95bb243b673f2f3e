"""`postroom up`."""

import sys

import click

from app.settings import settings


@click.command()
def up() -> None:
    """Run everything on this machine until Ctrl-C, servers included."""
    # Here, since no other command needs the packages of the extra `embedded`.
    from app.local.up import up as run  # noqa: PLC0415

    sys.exit(run(settings()))
