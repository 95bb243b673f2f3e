"""Celery settings, each with its reason.

Settings that differ between installations come from `app.settings`, queues from `agents.toml`.

PostgreSQL is the source of truth: it records which messages are due and which are leased. Redis
only carries wake-ups, so no setting here has to make Celery durable. They have to make it fast and
keep it from blocking.
"""

from kombu import Queue

from app.agents import agent_names, queue_name
from app.settings import settings

broker_url = settings().redis_url
broker_connection_retry_on_startup = True
broker_connection_max_retries = None  # a worker survives an outage of any length
broker_channel_error_retry = True  # also when Redis is full or read-only
broker_pool_acquire_timeout = 5  # seconds; by default an exhausted pool blocks for ever
broker_transport_options = {
    "global_keyprefix": "postroom:",
    "client_name": "postroom",
    # Only tasks reserved by a worker can be redelivered, and they wait for seconds.
    "visibility_timeout": 900,
    # Without these timeouts, publishing hangs for ever if Redis stops responding.
    "socket_timeout": 5,
    "socket_connect_timeout": 2,
    "socket_keepalive": True,
    "health_check_interval": 10,  # seconds until a worker notices that Redis stopped responding
    "max_connections": 2 * settings().worker_concurrency,
    # One retry, at once. The scan releases messages whose task could not be published.
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

# With missing queues not created, a mistyped name is an error rather than a queue that nobody
# reads. Celery publishes to a queue by name, so emptying Redis loses no binding.
DELIVER_QUEUES = [queue_name(agent) for agent in agent_names()]
task_queues = [
    Queue(name) for name in ("scan", "maintenance", "poll", "mailboxes", "parse", *DELIVER_QUEUES)
]
task_routes = {
    "scan": {"queue": "scan"},
    "maintenance": {"queue": "maintenance"},
    "poll": {"queue": "poll"},
    "poll_agent": {"queue": "poll"},
    "mailboxes": {"queue": "mailboxes"},
    "read_mailboxes": {"queue": "mailboxes"},
    "parse": {"queue": "parse"},
    **{name: {"queue": name} for name in DELIVER_QUEUES},
}
task_create_missing_queues = False
task_default_queue = "maintenance"  # for tasks without a route, such as those of a benchmark

# The result of a task is in the row of its message.
task_ignore_result = True
task_serializer = "json"
accept_content = ["json"]

# Tasks are acknowledged before they run. If a worker dies, the leases of its messages expire within
# a minute, long before Redis would redeliver the tasks; and a task that Redis redelivers after a
# reset connection is rejected by its claim token.
task_acks_late = False
task_reject_on_worker_lost = False

# Sending is mostly waiting, so workers use threads. For more throughput, add worker processes.
worker_pool = "threads"
worker_concurrency = settings().worker_concurrency
worker_prefetch_multiplier = 1  # leave tasks that cannot run soon to other workers
worker_cancel_long_running_tasks_on_connection_loss = False  # a send cannot be undone
worker_hijack_root_logger = False
worker_redirect_stdouts = False
worker_send_task_events = settings().task_events  # for Flower; costs about half the throughput
task_send_sent_event = settings().task_events

# On SIGTERM, sends in progress finish and waiting retries return to the queue.
worker_soft_shutdown_timeout = 30.0  # seconds, after SIGQUIT
worker_enable_soft_shutdown_on_idle = True

timezone = "UTC"
enable_utc = True
beat_enable_remote_control = True  # lets `celery inspect ping` detect a beat that hangs
# A task that no worker took before the next one is due expires: the next one does its work.
beat_schedule = {
    name: {"task": name, "schedule": seconds, "options": {"expires": seconds}}
    for name, seconds in {
        "scan": settings().scan_seconds,
        "maintenance": settings().maintenance_seconds,
        "poll": settings().poll_seconds,
        "mailboxes": settings().mailbox_seconds,
        "parse": settings().maintenance_seconds,
    }.items()
}
