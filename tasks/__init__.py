"""The Celery app: scan, deliver, poll, mailboxes, maintenance.

`celery -A tasks worker|beat|flower` starts here. No other package imports it.
"""

from typing import Any

from celery import Celery
from celery.signals import setup_logging

from app import logs
from app.agents import token_store
from tasks import broker
from tasks.leader import Leader

broker.install()
token_store.install()
celery = Celery(
    "postroom",
    include=["tasks.mailboxes", "tasks.deliver", "tasks.maintenance", "tasks.poll", "tasks.scan"],
)
celery.config_from_object("celeryconfig")
celery.steps["worker"].add(Leader)


@setup_logging.connect
def configure_logs(**_: Any) -> None:
    """Log as all processes do. With this receiver, Celery does not set up logging of its own."""
    logs.configure()
