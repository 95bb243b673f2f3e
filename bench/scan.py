"""One scan while much waits.

What is timed is the transaction of `tasks.scan.scan`, from taking the connection to giving it
back. The publishing after it, which costs the same whatever waits, would only hide a difference.
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
AT_MOST = 1.5

# As old as the place in the queue says, or due in a day and later.
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
    """The rows of the table."""
    with running_stack(AGENTS):
        prepare_worker()
        with autocommit() as connection:
            connection.execute(CONVERSATION)
        moments = _watch_transactions()
        before = _scan_seconds(moments, FEW, FEW)
        many = _scan_seconds(moments, MANY, MANY)
        between = _scan_seconds(moments, FEW, FEW)
        later = _scan_seconds(moments, FEW + MANY, FEW)
        after = _scan_seconds(moments, FEW, FEW)
    # Each against what was measured just before and after it: the pace of a machine may change.
    few = statistics.median((before, between, after))
    to_many = many / statistics.mean((before, between))
    to_later = later / statistics.mean((between, after))
    return [
        Figure(measure=f"scan, {FEW:,} due", value=1000 * few, unit="ms"),
        Figure(measure=f"scan, {MANY:,} due", value=1000 * many, unit="ms"),
        Figure(measure=f"scan, {FEW:,} due and {MANY:,} later", value=1000 * later, unit="ms"),
        Figure(measure=f"scan, {MANY:,} due to {FEW:,}", value=to_many, at_most=AT_MOST),
        Figure(measure=f"scan, {MANY:,} later to none", value=to_later, at_most=AT_MOST),
    ]


def _watch_transactions() -> list[float]:
    """Grows by a moment when a connection for transactions is taken, and when it is given back."""
    moments: list[float] = []
    for name in ("checkout", "checkin"):
        event.listen(engine(), name, lambda *_: moments.append(time.perf_counter()))
    return moments


def _scan_seconds(moments: list[float], waiting: int, due: int) -> float:
    """How long a scan takes with so many `waiting`, of which so many are `due`; the middle of
    many, each with the claims of the one before undone."""
    _fill(waiting, due)
    durations = []
    for _ in range(SCANS):
        moments.clear()
        scanned = scan()
        begun, ended = moments
        durations.append(ended - begun)
        if scanned is None or scanned.queued != len(AGENTS) * MAX_IN_FLIGHT:
            raise RuntimeError(f"the scan did not fill all windows: {scanned}")
        with transaction() as connection:
            pause.pause_scheduler(connection, by="bench")
            pause.resume_scheduler(connection, by="bench")
    return statistics.median(durations)


def _fill(waiting: int, due: int) -> None:
    """Past the triggers, which would write an event for each; vacuumed, as it is soon after in
    any case, so that this does not happen while scans are timed."""
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
