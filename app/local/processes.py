"""The processes of Postroom and their commands, for `postroom up` and for containers.

    python -m app.local.processes web|worker|beat|flower|sandbox

runs one of them in the foreground, with the settings of the environment.
"""

import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field

import click

from app.settings import Settings, settings
from app.startup import describe_start_error


@dataclass(frozen=True, slots=True)
class Port:
    """A port that a process listens on, and the environment variable that sets it."""

    variable: str
    host: str
    number: int


@dataclass(frozen=True, slots=True)
class Process:
    """A process.

    Args:
        name: Its name.
        command: Runs it in the foreground.
        environment: Variables that it needs in addition to the inherited ones.
        ports: The ports that it listens on.
        stop_signal: Stops it gracefully, such as `TERM`.
    """

    name: str
    command: tuple[str, ...]
    environment: Mapping[str, str] = field(default_factory=dict)
    ports: tuple[Port, ...] = ()
    stop_signal: str = "TERM"


def processes(settings: Settings) -> list[Process]:
    """Return the processes of Postroom, without the embedded servers."""
    web = Port("POSTROOM_PORT", settings.host, settings.port)
    # Flower can stop workers, so without a password it listens on this machine only.
    password = settings.flower_basic_auth
    flower = Port(
        "POSTROOM_FLOWER_PORT", settings.host if password else "127.0.0.1", settings.flower_port
    )
    metrics = Port("POSTROOM_METRICS_PORT", settings.host, settings.metrics_port)
    sandbox_ports = (
        Port("POSTROOM_SANDBOX_HTTP_PORT", "127.0.0.1", settings.sandbox_http_port),
        Port("POSTROOM_SANDBOX_SMTP_PORT", "127.0.0.1", settings.sandbox_smtp_port),
    )
    return [
        Process(
            "web",
            _python(
                "gunicorn", "app.api.wsgi:app", f"--bind={web.host}:{web.number}",
                f"--workers={settings.web_workers}", f"--threads={settings.web_threads}",
                "--no-control-socket",
            ),
            ports=(web,),
        ),
        Process(
            "worker",
            _python("celery", "-A", "tasks", "worker"),
            ports=(metrics,) if settings.metrics_port else (),
        ),
        Process(
            "beat",
            _python(
                "celery", "-A", "tasks", "beat",
                f"--schedule={settings.var / 'celerybeat-schedule'}",
            ),
        ),
        Process(
            "flower",
            _python(
                "celery", "-A", "tasks", "flower",
                f"--address={flower.host}", f"--port={flower.number}",
            ),
            # Not on the command line, which every user can read.
            environment={"FLOWER_BASIC_AUTH": password} if password else {},
            ports=(flower,),
        ),
        Process(
            "sandbox",
            _python("sandbox"),
            environment={port.variable: str(port.number) for port in sandbox_ports},
            ports=sandbox_ports,
        ),
    ]  # fmt: skip


def _python(*arguments: str) -> tuple[str, ...]:
    return (sys.executable, "-m", *arguments)


@click.command()
@click.argument("name")
def main(name: str) -> None:
    """Run the process NAME."""
    try:
        known = {process.name: process for process in processes(settings())}
    except ValueError as error:
        sys.exit(describe_start_error(error))
    if name not in known:
        raise click.BadParameter(f"use one of {', '.join(known)}", param_hint="NAME")
    process = known[name]
    settings().var.mkdir(parents=True, exist_ok=True)
    os.execve(  # noqa: S606 - running it is the purpose
        process.command[0], process.command, {**os.environ, **process.environment}
    )


if __name__ == "__main__":
    main()
