"""What a provider was told to be kept is kept, once, whatever ends meanwhile."""

import hmac
import json
import os
import signal
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import requests

from connectors.base import WebhookKind
from tests.faults.harness import WEBHOOK_SECRET, Postroom, down, until
from tests.faults.lost_commits import proxy_losing_commits

PATIENCE_SECONDS = 30
KEPT = {
    "inbound": "SELECT count(*) FROM messages WHERE direction = 'inbound'",
    "status": "SELECT count(*) FROM receipts",
}


def letter(number: int) -> dict[str, Any]:
    return {
        "id": f"in-{number}",
        "from": f"+1303555{number:04d}",
        "to": "+12025550199",
        "body": "hello",
    }


def report(number: int, message: str = "p-1") -> dict[str, Any]:
    return {"id": message, "status": "delivered", "reason": f"report {number}"}


ITEMS: dict[WebhookKind, Callable[[int], dict[str, Any]]] = {"inbound": letter, "status": report}


def call(postroom: Postroom, kind: WebhookKind, fields: dict[str, Any]) -> bool:
    """Call a webhook as the gateway does; whether it was answered with 2xx."""
    body = json.dumps(fields).encode()
    signature = hmac.digest(WEBHOOK_SECRET.encode(), body, "sha256").hex()
    try:
        response = requests.post(
            f"{postroom.url}/api/webhooks/gateway/{kind}",
            data=body,
            headers={"X-Signature": signature, "Content-Type": "application/json"},
            timeout=PATIENCE_SECONDS,
        )
    except requests.RequestException:
        return False
    assert response.ok or response.status_code == 503, response.text
    return response.ok


def call_until_taken(postroom: Postroom, kind: WebhookKind, fields: dict[str, Any]) -> None:
    until(lambda: call(postroom, kind, fields), "the call is answered with 2xx")


def kept(postroom: Postroom, kind: WebhookKind) -> int:
    return int(postroom.query(KEPT[kind])[0][0])


def kept_of_each(postroom: Postroom) -> list[int]:
    return [kept(postroom, kind) for kind in ITEMS]


def test_what_was_committed_but_not_answered_is_repeated_and_there_once(
    postroom: Postroom,
) -> None:
    with proxy_losing_commits(postroom.database_url) as proxy:
        doomed = postroom.web(DATABASE_URL=proxy.url)
        proxy.losing.set()
        with ThreadPoolExecutor(2) as provider:
            calls = [provider.submit(call, postroom, kind, make(1)) for kind, make in ITEMS.items()]
            until(lambda: kept_of_each(postroom) == [1, 1], "the calls are committed")
            assert not any(one.done() for one in calls)
            doomed.kill()
            assert [one.result() for one in calls] == [False, False]
    postroom.web()
    for kind, make in ITEMS.items():
        call_until_taken(postroom, kind, make(1))
        call_until_taken(postroom, kind, make(1))
    assert kept_of_each(postroom) == [1, 1]


def test_no_call_is_lost_or_doubled_when_web_is_killed_under_load(postroom: Postroom) -> None:
    web = postroom.web()
    calls = [(kind, make(number)) for number in range(80) for kind, make in ITEMS.items()]
    with ThreadPoolExecutor(4) as provider:
        # Each is made twice, at about the same time.
        taken = [
            provider.submit(call_until_taken, postroom, *one) for one in calls for _ in range(2)
        ]
        until(lambda: kept(postroom, "status") >= 20, "the first calls are kept")
        os.kill(web.children()[0], signal.SIGKILL)  # one process of gunicorn; it makes another
        until(lambda: kept(postroom, "status") >= 40, "further calls are kept")
        web.kill()
        postroom.web()
        for one in taken:
            one.result()
    assert kept_of_each(postroom) == [80, 80]


def test_calls_are_kept_and_applied_while_broker_and_workers_are_down(postroom: Postroom) -> None:
    postroom.web()
    [worker] = postroom.workers(1)
    postroom.submit(20)
    postroom.await_end()
    ids = [row[0] for row in postroom.query("SELECT provider_message_id FROM messages")]
    worker.kill()
    with down(postroom.valkey, postroom.valkey.kill), ThreadPoolExecutor(4) as provider:
        taken = [
            *(provider.submit(call, postroom, "inbound", letter(n)) for n in range(20)),
            *(provider.submit(call, postroom, "status", report(0, one)) for one in ids),
        ]
        assert all(one.result() for one in taken), "nobody had to call twice"
        assert kept(postroom, "inbound") == 20
        assert postroom.count("delivered") == 20
