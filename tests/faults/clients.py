"""Clients of the API that submit messages while something fails."""

from concurrent.futures import ThreadPoolExecutor
from functools import partial
from uuid import uuid4

import requests

from tests.faults.harness import FaultyPostroom
from tests.postroom import until

CLIENTS = 4
REQUESTS = 40
TOTAL = CLIENTS * REQUESTS
TIMEOUT_SECONDS = 5


class Clients:
    """Four clients that submit 40 messages each while the block runs.

    They repeat a request, with the same Idempotency-Key, until it is answered with 202. The end of
    the block waits for them.
    """

    def __init__(self, postroom: FaultyPostroom) -> None:
        self.accepted: set[int] = set()
        self._postroom = postroom
        self._name = uuid4().hex
        self._headers = {"Authorization": f"Bearer {postroom.token('submit')}"}

    def __enter__(self) -> "Clients":
        self._pool = ThreadPoolExecutor(CLIENTS)
        self._clients = [self._pool.submit(self._run, number) for number in range(CLIENTS)]
        return self

    def __exit__(self, *_: object) -> None:
        for client in self._clients:
            client.result()
        self._pool.shutdown()

    def await_accepted(self, count: int) -> None:
        """Wait until `count` messages of the clients are accepted."""
        until(lambda: len(self.accepted) >= count, f"{count} messages are accepted")

    def check_stored_once(self) -> None:
        """Check that each message is stored once, under the id of its response."""
        assert len(self.accepted) == TOTAL
        stored = self._postroom.query(
            "SELECT id FROM messages WHERE body LIKE %s", f"{self._name}-%"
        )
        assert {row[0] for row in stored} == self.accepted

    def _run(self, client: int) -> None:
        with requests.Session() as session:
            session.headers.update(self._headers)
            for number in range(REQUESTS):
                submit = partial(self._submit, session, f"{self._name}-{client}-{number}")
                until(submit, "a message is accepted")

    def _submit(self, session: requests.Session, key: str) -> bool:
        try:
            response = session.post(
                f"{self._postroom.url}/api/messages/sms",
                json={"to": "+12025550123", "type": "sms", "body": key},
                headers={"Idempotency-Key": key},
                timeout=TIMEOUT_SECONDS,
            )
        except requests.RequestException:
            return False
        if response.status_code != 202:
            assert response.status_code in {409, 503}, response.text
            return False
        number = response.json()["id"]
        self.accepted.add(number)
        self._postroom.accepted.add(number)
        return True
