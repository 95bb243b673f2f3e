"""A client of a running Postroom: what an application does, and the provider's own doings."""

from typing import Any, Self

import requests

from tests.postroom import Postroom, until


class Caller:
    """Calls the API with a token for everything, and the sandbox before it."""

    def __init__(self, postroom: Postroom) -> None:
        self.postroom = postroom
        self.sandbox = postroom.sandbox
        self._session = requests.Session()
        self._session.trust_env = False
        token = postroom.token("submit", "read", "operate", "receive")
        self._session.headers["Authorization"] = f"Bearer {token}"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._session.close()

    def call(self, method: str, path: str, status: int = 200, **arguments: Any) -> Any:
        """The JSON of an answer that has to have this status."""
        response = self._session.request(method, self.postroom.url + path, timeout=30, **arguments)
        assert response.status_code == status, response.text
        return response.json()

    def submit(self, **message: Any) -> int:
        """Submit a message; returns its id."""
        return int(self.call("POST", "/api/messages", 202, json=message)["id"])

    def message(self, number: int) -> Any:
        """The whole story of a message."""
        return self.call("GET", f"/api/messages/{number}")

    def await_status(self, number: int, *statuses: str) -> Any:
        """Wait until the message has one of these statuses; returns its story."""
        until(
            lambda: self.message(number)["status"] in statuses,
            f"message {number} is {' or '.join(statuses)}",
            seconds=60,
            explain=lambda: str(self.message(number)),
        )
        return self.message(number)

    def conversation(self, number: int) -> list[Any]:
        """The messages of a conversation, oldest first."""
        found = self.call("GET", f"/api/conversations/{number}/messages")
        return list(found["messages"])

    def suppression(self, address: str) -> str | None:
        """Why an address is not written to any more, if so."""
        entries = self.call("GET", "/api/suppressions", params={"address": address})["suppressions"]
        return entries[0]["reason"] if entries else None

    def paused(self, agent: str) -> str | None:
        """Why an agent is paused, if it is."""
        agents = self.call("GET", "/api/agents")["agents"]
        [found] = [one for one in agents if one["code"] == agent]
        return (found["reason"] or "by hand") if found["paused"] else None

    def poll(self) -> None:
        """Have every message that awaits a receipt be asked for with the next tick of beat."""
        self.postroom.query("UPDATE polls SET due_at = now() RETURNING message_id")

    def play(self, method: str, path: str, **fields: Any) -> None:
        """Something that happens at a provider of the sandbox."""
        response = self.sandbox.session.request(
            method, self.sandbox.http_url + path, json=fields, timeout=30
        )
        assert response.ok, response.text
