"""Webhooks per second with one web worker. The client is a process.

Each is a signed status webhook of Twilio for a message of its own, which it marks as delivered.
"""

import asyncio
import base64
import hashlib
import hmac
import multiprocessing
import statistics
from collections.abc import Coroutine
from concurrent.futures import ProcessPoolExecutor
from urllib.parse import urlencode

from sqlalchemy import text

from app.db import transaction
from app.settings import settings
from bench.client import Client, call_steadily
from bench.figures import Figure, percentiles
from bench.stack import running_stack

CONNECTIONS = 8
WARM_UP_SECONDS = 2.0
SECONDS = 5.0
RUNS = 3
MAX_CALLS = 5000

ACCOUNT_SID = "AC" + "a" * 32
AUTH_TOKEN = "auth-token-of-the-benchmark"
AGENT = f"""
[agents.twilio]
connector = "twilio"
[agents.twilio.settings]
account_sid = "{ACCOUNT_SID}"
auth_token = "{AUTH_TOKEN}"
sender = "+15005550006"
"""
PATH = "/api/webhooks/twilio/status"

# Accepted and then sent, so that each message has the usual events.
FILL = (
    text("""
        WITH conversation AS (
            INSERT INTO conversations (channel_family, participants)
            VALUES ('phone', '{+12025550100}') RETURNING id
        )
        INSERT INTO messages (channel, agent, recipient, body, conversation_id)
        SELECT 'sms', 'twilio', '+1202' || 5550000 + n % 1000, 'hello', id
        FROM conversation, generate_series(1, :messages) AS n
    """),
    text("""
        UPDATE messages
        SET status = 'sent', sent_at = now(), finished_at = now(),
            provider_message_id = 'SM' || lpad(id::text, 32, '0')
    """),
)


def measure() -> list[Figure]:
    context = multiprocessing.get_context("spawn")
    with (
        running_stack(further_agents=AGENT) as stack,
        ProcessPoolExecutor(max_workers=1, mp_context=context) as executor,
    ):
        _fill()
        stack.run_web()
        runs = [
            executor.submit(_call, 1 + number * MAX_CALLS, seconds).result()
            for number, seconds in enumerate([WARM_UP_SECONDS, *[SECONDS] * RUNS])
        ]
        _check(sum(len(durations) for durations in runs))
    del runs[0]
    each_second = statistics.median(len(durations) / SECONDS for durations in runs)
    p50, p95 = (
        1000 * statistics.median(values)
        for values in zip(*(percentiles(durations, 50, 95) for durations in runs), strict=True)
    )
    name = f"signed Twilio status webhook, 1 web worker, {CONNECTIONS} clients"
    return [
        Figure(measure=name, value=each_second, unit="a second"),
        Figure(measure=f"{name}: p50", value=p50, unit="ms"),
        Figure(measure=f"{name}: p95", value=p95, unit="ms"),
    ]


def _fill() -> None:
    with transaction() as connection:
        for statement in FILL:
            connection.execute(statement, {"messages": (1 + RUNS) * MAX_CALLS})


def _check(calls: int) -> None:
    """Check that each webhook has marked its message as delivered."""
    with transaction() as connection:
        delivered = connection.execute(
            text("SELECT count(*) FROM messages WHERE status = 'delivered'")
        ).scalar_one()
    if delivered != calls:
        raise RuntimeError(f"{calls} webhooks marked {delivered} messages as delivered")


def _call(first: int, seconds: float) -> list[float]:
    url = settings().public_url + PATH

    def call(client: Client, number: int) -> Coroutine[None, None, None]:
        sid = f"SM{number:032d}"
        fields = {
            "AccountSid": ACCOUNT_SID,
            "MessageSid": sid,
            "SmsSid": sid,
            "MessageStatus": "delivered",
            "SmsStatus": "delivered",
            "From": "+15005550006",
            "To": "+12025550100",
            "ApiVersion": "2010-04-01",
        }
        return client.post(PATH, _headers(url, fields), urlencode(fields).encode())

    return asyncio.run(call_steadily(call, first, seconds, CONNECTIONS))


def _headers(url: str, fields: dict[str, str]) -> dict[str, str]:
    signed = url + "".join(name + fields[name] for name in sorted(fields))
    signature = hmac.digest(AUTH_TOKEN.encode(), signed.encode(), hashlib.sha1)
    return {
        "Content-Type": "application/x-www-form-urlencoded",
        "X-Twilio-Signature": base64.b64encode(signature).decode(),
    }
