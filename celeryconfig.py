"""Celery's own settings, each with its reason. What differs between installations comes from
`app.settings`, the queues from `agents.toml`.

The broker is only a bell: PostgreSQL knows what is to be sent and who holds it. So nothing here
has to make Celery remember; it has to make Celery prompt, and unable to block.
"""

from kombu import Queue

from app.agents import agents
from app.inbound.mailboxes import mailbox_agents
from app.inbound.polling import polled_agents
from app.settings import settings

broker_url = settings().redis_url
broker_connection_retry_on_startup = True
broker_connection_max_retries = None  # a worker outlives any outage of the broker
broker_pool_acquire_timeout = 5  # seconds; without it an exhausted pool blocks for ever
broker_transport_options = {
    "global_keyprefix": "postroom:",
    "client_name": "postroom",
    # Only tasks that wait in a worker can be redelivered, and those wait for seconds.
    "visibility_timeout": 900,
    # Without these two a publisher hangs for ever on a Redis that is frozen.
    "socket_timeout": 5,
    "socket_connect_timeout": 2,
    "socket_keepalive": True,
    "health_check_interval": 25,
    "max_connections": 2 * settings().worker_concurrency,
    # One more try, at once. The scan gives back what could not be published.
    "max_retries": 1,
    "interval_start": 0,
    "interval_step": 0.1,
    "interval_max": 0.2,
}
task_publish_retry_policy = {
    "max_retries": 1,
    "interval_start": 0,
    "interval_step": 0.1,
    "interval_max": 0.2,
}

# Each task has a queue of its own name. A mistyped one is an error rather than a new queue that
# nobody reads. (Celery publishes to a queue by its name alone, so an emptied Redis has no binding
# to lose.)
QUEUES = (
    "scan",
    "maintenance",
    "poll",
    "mailboxes",
    *(agent.queue for agent in agents().by_name.values()),
)
task_queues = [Queue(name) for name in QUEUES]
task_routes = {name: {"queue": name} for name in QUEUES}
task_create_missing_queues = False
task_default_queue = "maintenance"  # what else might come, such as a task of a bench

# What became of a message stands in its row.
task_ignore_result = True
task_serializer = "json"
accept_content = ["json"]

# A task is acknowledged when it begins. If its worker dies, the message's lease runs out within a
# minute, long before Redis would redeliver; and what Redis redelivers when a connection is
# reset would only be turned away by the claim.
task_acks_late = False
task_reject_on_worker_lost = False

# Sending is waiting, so threads; more throughput comes from more worker processes.
worker_pool = "threads"
worker_concurrency = settings().worker_concurrency
worker_prefetch_multiplier = 1  # reserve what can run soon, leave the rest to other workers
worker_cancel_long_running_tasks_on_connection_loss = False  # a send cannot be taken back
worker_hijack_root_logger = False
worker_redirect_stdouts = False
worker_send_task_events = settings().task_events  # for Flower; costs about half the throughput
task_send_sent_event = settings().task_events

# SIGTERM lets the sends under way finish, and hands waiting Celery retries back.
worker_soft_shutdown_timeout = 30.0  # seconds, after SIGQUIT
worker_enable_soft_shutdown_on_idle = True

timezone = "UTC"
enable_utc = True
beat_enable_remote_control = True  # lets `celery inspect ping` tell a live beat from a stuck one
beat_schedule = {
    # A tick that no worker took in time is worthless: the next one does its work.
    "scan": {
        "task": "scan",
        "schedule": settings().scan_seconds,
        "options": {"expires": settings().scan_seconds},
    },
    "maintenance": {
        "task": "maintenance",
        "schedule": settings().maintenance_seconds,
        "options": {"expires": settings().maintenance_seconds},
    },
    # One for each agent, so that none waits for the provider of another.
    **{
        f"poll {code}": {
            "task": "poll",
            "args": (code,),
            "schedule": settings().poll_seconds,
            "options": {"expires": settings().poll_seconds},
        }
        for code in polled_agents(agents())
    },
    **{
        f"mailboxes {code}": {
            "task": "mailboxes",
            "args": (code,),
            "schedule": settings().mailbox_seconds,
            "options": {"expires": settings().mailbox_seconds},
        }
        for code in mailbox_agents(agents())
    },
}
