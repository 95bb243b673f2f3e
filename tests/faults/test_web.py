"""The web process is killed while clients submit messages and providers call webhooks."""

import hmac
import json
import os
import signal
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import requests

from connectors.base import WebhookKind
from tests.faults.clients import TOTAL, Clients
from tests.faults.harness import WEBHOOK_SECRET, FaultyPostroom, down, frozen
from tests.faults.lost_commits import proxy_losing_commits
from tests.postroom import until

TIMEOUT_SECONDS = 30
STORED = {
    "inbound": "SELECT count(*) FROM messages WHERE direction = 'inbound'",
    "status": "SELECT count(*) FROM receipts",
}


def inbound_message(number: int) -> dict[str, Any]:
    return {
        "id": f"in-{number}",
        "from": f"+1303555{number:04d}",
        "to": "+12025550199",
        "body": "hello",
    }


def receipt(number: int, message: str = "p-1") -> dict[str, Any]:
    return {"id": message, "status": "delivered", "reason": f"receipt {number}"}


ITEMS: dict[WebhookKind, Callable[[int], dict[str, Any]]] = {
    "inbound": inbound_message,
    "status": receipt,
}


def call_webhook(postroom: FaultyPostroom, kind: WebhookKind, fields: dict[str, Any]) -> bool:
    """Call a webhook as the gateway does. Return whether the response was 2xx."""
    body = json.dumps(fields).encode()
    signature = hmac.digest(WEBHOOK_SECRET.encode(), body, "sha256").hex()
    try:
        response = requests.post(
            f"{postroom.url}/api/webhooks/gateway/{kind}",
            data=body,
            headers={"X-Signature": signature, "Content-Type": "application/json"},
            timeout=TIMEOUT_SECONDS,
        )
    except requests.RequestException:
        return False
    assert response.ok or response.status_code == 503, response.text
    return response.ok


def call_until_accepted(
    postroom: FaultyPostroom, kind: WebhookKind, fields: dict[str, Any]
) -> None:
    until(lambda: call_webhook(postroom, kind, fields), "the webhook is answered with 2xx")


def stored(postroom: FaultyPostroom, kind: WebhookKind) -> int:
    return int(postroom.query(STORED[kind])[0][0])


def stored_by_kind(postroom: FaultyPostroom) -> list[int]:
    return [stored(postroom, kind) for kind in ITEMS]


def test_a_webhook_committed_without_a_response_is_stored_once_when_repeated(
    postroom: FaultyPostroom,
) -> None:
    postroom.kill("web")
    with proxy_losing_commits(postroom.database_url) as proxy:
        postroom.start(web=True, DATABASE_URL=proxy.url)
        proxy.losing.set()
        with ThreadPoolExecutor(2) as provider:
            calls = [
                provider.submit(call_webhook, postroom, kind, make(1))
                for kind, make in ITEMS.items()
            ]
            until(lambda: stored_by_kind(postroom) == [1, 1], "both are committed")
            assert not any(one.done() for one in calls)
            postroom.kill("web")
            assert [one.result() for one in calls] == [False, False]
    postroom.start(web=True)
    for kind, make in ITEMS.items():
        call_until_accepted(postroom, kind, make(1))
        call_until_accepted(postroom, kind, make(1))
    assert stored_by_kind(postroom) == [1, 1]


def test_nothing_accepted_is_lost_or_doubled_when_web_is_killed_under_load(
    postroom: FaultyPostroom,
) -> None:
    postroom.start(workers=1, web=True)
    (web,) = postroom.running("web")
    # Each webhook is called twice, at about the same time.
    calls = [
        (kind, make(number)) for number in range(60) for kind, make in ITEMS.items() for _ in "ab"
    ]
    with Clients(postroom) as clients, ThreadPoolExecutor(4) as provider:
        called = [provider.submit(call_until_accepted, postroom, *call) for call in calls]
        clients.await_accepted(TOTAL // 4)
        until(lambda: stored(postroom, "status") >= 20, "the first webhooks are stored")
        os.kill(web.children()[0], signal.SIGKILL)  # one process of gunicorn, which replaces it
        clients.await_accepted(TOTAL // 2)
        until(lambda: stored(postroom, "status") >= 30, "further webhooks are stored")
        web.kill()
        postroom.start(web=True)
        postroom.mark_fault_over()
        for one in called:
            one.result()
    postroom.account()
    clients.check_stored_once()
    assert stored_by_kind(postroom) == [60, 60]


def test_webhooks_are_stored_and_applied_while_redis_and_workers_are_down(
    postroom: FaultyPostroom,
) -> None:
    postroom.start(workers=1, web=True)
    postroom.submit(20)
    postroom.await_finished()
    ids = [row[0] for row in postroom.query("SELECT provider_message_id FROM messages")]
    with (
        frozen(postroom.running("worker")[0]),
        down(postroom.valkey, postroom.valkey.kill),
        ThreadPoolExecutor(4) as provider,
    ):
        calls = [
            *(
                provider.submit(call_webhook, postroom, "inbound", inbound_message(number))
                for number in range(20)
            ),
            *(provider.submit(call_webhook, postroom, "status", receipt(0, one)) for one in ids),
        ]
        assert all(call.result() for call in calls), "each was accepted at once"
        assert stored(postroom, "inbound") == 20
        assert postroom.count("delivered") == 20
