"""The duration of one scan, by the number of waiting messages.

The transaction of `tasks.scan.scan` is timed, from checking out its connection to returning it.
Publishing, which follows, does not depend on the number of waiting messages.
"""

import statistics
import sys
import time

from sqlalchemy import event, text

from app.db import autocommit, engine, transaction
from app.outbox import pause
from bench.figures import Figure
from bench.stack import MAX_IN_FLIGHT, running_stack
from tasks import prepare_worker
from tasks.scan import scan

FEW = 1000
MANY = 1_000_000
AGENTS = ("one", "two", "three", "four")
SCANS = 101
MAX_RATIO = 1.5

# Due messages, one per millisecond of age, then messages that are due in a day or later.
FILL = text("""
INSERT INTO messages (
    channel, agent, recipient, body, priority, due_at, conversation_id, submitted_by, reason
)
SELECT 'sms', (CAST(:agents AS text[]))[1 + n % 4], '+1202' || 5550000 + n % 1000, 'hello',
    n / 4 % 4,
    now() + CASE WHEN n <= :due THEN - n * interval '1 ms'
        ELSE interval '1 day' + n * interval '1 ms' END,
    conversation, 'bench', 'accepted'
FROM generate_series(1, :waiting) AS n, (
    SELECT id AS conversation FROM conversations
) AS conversations
""")
CONVERSATION = text("""
INSERT INTO conversations (channel_family, participants) VALUES ('phone', '{+12025550100}')
""")


def measure() -> list[Figure]:
    with running_stack(AGENTS):
        prepare_worker()
        with autocommit() as connection:
            connection.execute(CONVERSATION)
        times = _watch_transactions()
        before = _scan_seconds(times, FEW, FEW)
        many = _scan_seconds(times, MANY, MANY)
        between = _scan_seconds(times, FEW, FEW)
        later = _scan_seconds(times, FEW + MANY, FEW)
        after = _scan_seconds(times, FEW, FEW)
    # Compare each with the scans before and after it, since the speed of a machine may change.
    few = statistics.median((before, between, after))
    to_many = many / statistics.mean((before, between))
    to_later = later / statistics.mean((between, after))
    return [
        Figure(measure=f"scan, {FEW:,} due", value=1000 * few, unit="ms"),
        Figure(measure=f"scan, {MANY:,} due", value=1000 * many, unit="ms"),
        Figure(measure=f"scan, {FEW:,} due and {MANY:,} later", value=1000 * later, unit="ms"),
        Figure(measure=f"scan, {MANY:,} due to {FEW:,}", value=to_many, at_most=MAX_RATIO),
        Figure(measure=f"scan, {MANY:,} later to none", value=to_later, at_most=MAX_RATIO),
    ]


def _watch_transactions() -> list[float]:
    """Return a list that receives the time of each checkout and checkin of a connection."""
    times: list[float] = []
    for name in ("checkout", "checkin"):
        event.listen(engine(), name, lambda *_: times.append(time.perf_counter()))
    return times


def _scan_seconds(times: list[float], waiting: int, due: int) -> float:
    """Return the median duration of a scan. The claims of each scan are undone before the next."""
    _fill(waiting, due)
    durations = []
    for _ in range(SCANS):
        times.clear()
        scanned = scan()
        started, ended = times
        durations.append(ended - started)
        if scanned is None or scanned.queued != len(AGENTS) * MAX_IN_FLIGHT:
            raise RuntimeError(f"the scan did not use the whole capacity: {scanned}")
        with transaction() as connection:
            pause.pause_scheduler(connection, by="bench")
            pause.resume_scheduler(connection, by="bench")
    return statistics.median(durations)


def _fill(waiting: int, due: int) -> None:
    """Insert messages without their events, and vacuum the table, as autovacuum soon would."""
    print(f"  {waiting:,} messages, {due:,} of them due", file=sys.stderr, flush=True)
    with autocommit() as connection:
        for statement in (
            text("SET statement_timeout = 0"),
            text("TRUNCATE messages CASCADE"),
            text("ALTER TABLE messages DISABLE TRIGGER USER"),
            FILL.bindparams(agents=list(AGENTS), waiting=waiting, due=due),
            text("ALTER TABLE messages ENABLE TRIGGER USER"),
            text("VACUUM ANALYZE messages"),
        ):
            connection.execute(statement)
