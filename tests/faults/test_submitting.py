"""What is answered with 202 is kept, whatever ends while clients submit."""

import os
import signal
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from functools import partial

import pytest
import requests

from app.local.servers import ValkeyServer
from tests.faults.harness import Postroom, down, frozen, until

CLIENTS = 4
EACH = 40
ALL = CLIENTS * EACH
PATIENCE_SECONDS = 5


class Submitters:
    """Clients that each submit `EACH` messages, and repeat a request, with the same
    Idempotency-Key, until it is answered with 202."""

    def __init__(self, postroom: Postroom) -> None:
        self._postroom = postroom
        self._headers = {"Authorization": f"Bearer {postroom.token('submit')}"}

    def __enter__(self) -> "Submitters":
        self._pool = ThreadPoolExecutor(CLIENTS)
        self._clients = [self._pool.submit(self._run, number) for number in range(CLIENTS)]
        return self

    def __exit__(self, *_: object) -> None:
        for client in self._clients:
            client.result()
        self._pool.shutdown()

    def await_accepted(self, count: int) -> None:
        until(lambda: len(self._postroom.accepted) >= count, f"{count} messages are accepted")

    def _run(self, client: int) -> None:
        with requests.Session() as session:
            session.headers.update(self._headers)
            for number in range(EACH):
                submit = partial(self._submit, session, f"{client}-{number}")
                until(submit, "a message is accepted")

    def _submit(self, session: requests.Session, key: str) -> bool:
        message = {"to": "+12025550123", "type": "sms", "body": key}
        try:
            response = session.post(
                f"{self._postroom.url}/api/messages/sms",
                json=message,
                headers={"Idempotency-Key": key},
                timeout=PATIENCE_SECONDS,
            )
        except requests.RequestException:
            return False
        if response.status_code != 202:
            assert response.status_code in {409, 503}, response.text
            return False
        self._postroom.accepted.add(response.json()["id"])
        return True


def test_what_was_answered_with_202_outlives_the_web_process(postroom: Postroom) -> None:
    web = postroom.web()
    postroom.workers(1)
    with Submitters(postroom) as submitters:
        submitters.await_accepted(ALL // 4)
        os.kill(web.children()[0], signal.SIGKILL)  # one process of gunicorn; it makes another
        submitters.await_accepted(ALL // 2)
        web.kill()
        postroom.web()
        postroom.mark_fault_over()
    _check(postroom)


def test_what_was_answered_with_202_outlives_postgres(postroom: Postroom) -> None:
    postroom.web()
    postroom.workers(1)
    with Submitters(postroom) as submitters:
        submitters.await_accepted(ALL // 4)
        postroom.postgres.restart()
        submitters.await_accepted(ALL // 2)
        with down(postroom.postgres, postroom.postgres.kill):
            pass
        postroom.mark_fault_over()
    _check(postroom)


def _killed(valkey: ValkeyServer) -> AbstractContextManager[None]:
    return down(valkey, valkey.kill)


@pytest.mark.parametrize(
    "outage", [pytest.param(_killed, id="killed"), pytest.param(frozen, id="frozen")]
)
def test_messages_are_accepted_while_the_broker_is_away(
    postroom: Postroom, outage: Callable[[ValkeyServer], AbstractContextManager[None]]
) -> None:
    postroom.web()
    postroom.workers(1)
    with outage(postroom.valkey):
        with Submitters(postroom):
            pass
        assert len(postroom.accepted) == ALL
        assert postroom.count("sent") == 0
    postroom.mark_fault_over()
    _check(postroom)


def _check(postroom: Postroom) -> None:
    """Each message of the clients is there once, under the id that they were told."""
    postroom.account()
    assert len(postroom.accepted) == ALL
    assert postroom.query("SELECT count(*) FROM messages") == [(ALL,)]
