"""A Postroom to break, and an account of what each fault costs."""

import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

from app.local.servers import Server
from tests.postroom import Postroom, Process, until

MAX_IN_FLIGHT = 16
WEBHOOK_SECRET = "webhook-secret-of-the-gateway"
# Three agents: one with few messages in flight, one with many, and one that never sends again
# after an uncertain attempt. A send ends after 2 s.
AGENTS = f"""
[agents.gateway]
connector = "gateway"
channels = ["sms"]
max_in_flight = {MAX_IN_FLIGHT}
retry = {{{{ attempts = 8, base_seconds = 1, factor = 2, cap_seconds = 4 }}}}
[agents.gateway.settings]
url = "{{gateway}}"
allow_networks = ["loopback"]
connect_timeout_seconds = 1
read_timeout_seconds = 2
total_timeout_seconds = 2
webhook_secrets = ["{WEBHOOK_SECRET}"]
webhook_hmac = {{{{ header = "X-Signature" }}}}

[agents.bulk]
connector = "api"
channels = ["push"]
max_in_flight = 600
retry = {{{{ attempts = 8, base_seconds = 1, factor = 2, cap_seconds = 4 }}}}
[agents.bulk.settings]
uri = "{{api}}"
allow_networks = ["loopback"]
connect_timeout_seconds = 1
read_timeout_seconds = 2
total_timeout_seconds = 2

[agents.careful]
connector = "api"
channels = ["http"]
on_uncertain = "hold"
retry = {{{{ attempts = 8, base_seconds = 1, factor = 2, cap_seconds = 4 }}}}
[agents.careful.settings]
uri = "{{api}}"
allow_networks = ["loopback"]
connect_timeout_seconds = 1
read_timeout_seconds = 2
total_timeout_seconds = 2
"""
CHANNELS = {"gateway": "sms", "bulk": "push", "careful": "http"}


@dataclass
class FaultyPostroom(Postroom):
    """A Postroom that accounts for every message: `accepted` are the ids that it confirmed."""

    accepted: set[int] = field(default_factory=set)
    report: Callable[[str], None] = print
    fault_over_at: float = 0.0

    def begin_test(self) -> None:
        """Delete what the previous test left, and with it the account."""
        super().begin_test()
        self.accepted.clear()

    def submit(self, count: int, agent: str = "gateway") -> None:
        """Insert `count` messages for an agent by SQL."""
        recipient = {
            "gateway": "'+1202555' || lpad(n::text, 4, '0')",
            "bulk": "'/push/' || n",
            "careful": "'/' || n",
        }[agent]
        rows = self.query(
            f"INSERT INTO messages (channel, recipient, body) "
            f"SELECT %s, {recipient}, 'hello' FROM generate_series(1, %s) AS n RETURNING id",
            CHANNELS[agent],
            count,
        )
        self.accepted.update(row[0] for row in rows)

    def count(self, status: str, agent: str | None = None) -> int:
        """Return how many outbound messages, of one agent or all, have a status."""
        statement = (
            "SELECT count(*) FROM messages"
            " WHERE direction = 'outbound' AND status = %s AND agent = coalesce(%s, agent)"
        )
        return int(self.query(statement, status, agent)[0][0])

    def waiting_retries(self) -> int:
        """Return how many messages wait in a worker for their Celery retry."""
        statement = (
            "SELECT count(*) FROM messages WHERE status = 'retry' AND lease_until IS NOT NULL"
        )
        return int(self.query(statement)[0][0])

    def lost_sends(self, agent: str) -> int:
        """Return how many sends of an agent were in flight in a worker that was lost."""
        statement = "SELECT count(*) FROM attempts WHERE code = 'worker_lost' AND agent = %s"
        return int(self.query(statement, agent)[0][0])

    def shorten_leases(self, seconds: int) -> None:
        """Let messages in flight be rescued `seconds` earlier, so that the test need not wait.

        Only for a worker that was killed or frozen: one that still has to record an outcome after
        an outage needs its whole lease, or its messages are sent twice.
        """
        self.query(
            "UPDATE messages SET lease_until = lease_until - %s * interval '1 second'"
            " WHERE status = 'sending' RETURNING id",
            seconds,
        )

    def mark_fault_over(self) -> None:
        """Note that Postroom can recover from now on."""
        self.fault_over_at = time.monotonic()

    def await_finished(self) -> None:
        """Wait until every message has a final status."""
        unfinished = "SELECT FROM messages WHERE direction = 'outbound' AND finished_at IS NULL"
        until(
            lambda: self.query(unfinished) == [],
            "every message is finished",
            explain=lambda: str(
                self.query("SELECT status, reason, count(*) FROM messages GROUP BY 1, 2 ORDER BY 3")
            ),
        )

    def account(self, *, max_doubled: int = 0, ends: Sequence[str] = ("sent",)) -> None:
        """Wait until all is sent, then check it against what the provider has received.

        No accepted message may be lost, at most `max_doubled` may be sent twice, every status must
        be one of `ends`, and no process may have crashed.
        """
        self.await_finished()
        seconds = time.monotonic() - self.fault_over_at
        rows = self.query("SELECT id, uid::text, status FROM messages WHERE direction = 'outbound'")
        received = Counter(record["key"] for record in self.sandbox.received())
        statuses = Counter(status for _, _, status in rows)
        missing = self.accepted - {number for number, _, _ in rows}
        unsent = [uid for _, uid, status in rows if status == "sent" and uid not in received]
        lost = len(missing) + len(unsent)
        doubled = sum(received.values()) - len(received)
        self.report(
            f"lost {lost}, doubled {doubled} (at most {max_doubled}),"
            f" recovered in {seconds:.1f} s, {dict(statuses)}"
        )
        assert lost == 0
        assert set(statuses) <= set(ends), statuses
        assert set(received) <= {uid for _, uid, _ in rows}
        assert doubled <= max_doubled, self._attempts(
            [uid for uid in received if received[uid] > 1]
        )
        crashed = [
            process.log.name
            for process in self.processes
            if not process.is_ended and process.popen.poll() is not None
        ]
        assert not crashed

    def _attempts(self, uids: Sequence[str]) -> list[tuple[object, ...]]:
        """Return all attempts to send these messages, oldest first."""
        return self.query(
            "SELECT message_id, attempts.claim_token, outcome, code, detail, duration_ms,"
            " attempts.finished_at FROM attempts JOIN messages ON messages.id = message_id"
            " WHERE uid::text = ANY(%s) ORDER BY message_id, attempts.id",
            [*uids],
        )


@contextmanager
def down(server: Server, end: Callable[[], None]) -> Iterator[None]:
    """Call `end` to stop or kill the server, and start it again after the block."""
    end()
    try:
        yield
    finally:
        server.start()


@contextmanager
def frozen(target: Server | Process) -> Iterator[None]:
    """Suspend a server or a process during the block; its connections stay open."""
    target.freeze()
    try:
        yield
    finally:
        target.thaw()
