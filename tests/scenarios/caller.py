"""A client of a running Postroom: an application, and what happens at its providers."""

from typing import Any, Self

import requests

from tests.postroom import Postroom, until


class Caller:
    """Call the API with all scopes, and the simulated providers."""

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
        """Return the JSON of a response, which must have this status."""
        response = self._session.request(method, self.postroom.url + path, timeout=30, **arguments)
        assert response.status_code == status, response.text
        return response.json()

    def submit(self, **message: Any) -> int:
        """Submit a message and return its id."""
        return int(self.call("POST", "/api/messages", 202, json=message)["id"])

    def message(self, number: int) -> Any:
        """Return a message with its history."""
        return self.call("GET", f"/api/messages/{number}")

    def await_status(self, number: int, *statuses: str) -> Any:
        """Wait until a message has one of these statuses, and return it with its history."""
        until(
            lambda: self.message(number)["status"] in statuses,
            f"message {number} is {' or '.join(statuses)}",
            seconds=60,
            explain=lambda: str(self.message(number)),
        )
        return self.message(number)

    def conversation(self, number: int) -> list[Any]:
        """Return the messages of a conversation, oldest first."""
        found = self.call("GET", f"/api/conversations/{number}/messages")
        return list(found["messages"])

    def suppression(self, address: str) -> str | None:
        """Return why an address is suppressed, or None."""
        entries = self.call("GET", "/api/suppressions", params={"address": address})["suppressions"]
        return entries[0]["reason"] if entries else None

    def paused(self, agent: str) -> str | None:
        """Return why an agent is paused, or None."""
        agents = self.call("GET", "/api/agents")["agents"]
        [found] = [one for one in agents if one["agent"] == agent]
        return (found["reason"] or "by hand") if found["paused"] else None

    def poll(self) -> None:
        """Make all polls for receipts due now."""
        self.postroom.query("UPDATE polls SET due_at = now() RETURNING message_id")

    def simulate(self, method: str, path: str, **fields: Any) -> None:
        """Simulate an event at a provider."""
        response = self.sandbox.session.request(
            method, self.sandbox.http_url + path, json=fields, timeout=30
        )
        assert response.ok, response.text
