"""The Celery app: scan, deliver, poll, mailboxes, parse, maintenance.

`celery -A tasks worker|beat|flower` starts here. No other package imports it.
"""

import sys
from importlib import import_module
from typing import Any

from celery import Celery
from celery.signals import celeryd_init, setup_logging

from app import logs
from app.agents import AgentsError, agent_names, agents
from app.startup import describe_start_error
from tasks import broker

TASK_MODULES = (
    "tasks.deliver",
    "tasks.mailboxes",
    "tasks.maintenance",
    "tasks.parse",
    "tasks.poll",
    "tasks.scan",
)

try:
    agent_names()  # celeryconfig.py needs the settings and these names
except (AgentsError, ValueError) as error:
    sys.exit(describe_start_error(error))

broker.install()
celery = Celery("postroom")
celery.config_from_object("celeryconfig")
celery.steps["worker"].add("tasks.leader:Leader")


@celeryd_init.connect
def prepare_worker(**_: Any) -> None:
    """Import the tasks and what they need, in workers only.

    Beat and Flower know tasks by name. Celery's own `include` would import the tasks there too,
    which doubles their memory and start-up time.
    """
    try:
        agents()
    except AgentsError as error:  # Celery would log any other error, and start without tasks
        sys.exit(describe_start_error(error))
    import_module("app.agents.token_store").install()
    for module in TASK_MODULES:
        import_module(module)


@setup_logging.connect
def configure_logs(**_: Any) -> None:
    """Log as all processes do. With this receiver, Celery does not set up logging of its own."""
    logs.configure()
