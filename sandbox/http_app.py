"""What the sandbox does with an HTTP request: a provider's path is played, with whatever
misbehaviour is in force; the other paths show and control the sandbox."""

import asyncio
from collections.abc import Sequence

from sandbox.behaviour import Behaviour, Rules
from sandbox.callbacks import call_back
from sandbox.http_server import PHRASES, Connection
from sandbox.inspection import inspect
from sandbox.provider import Answer, AnsweredError, Delivery, Provider, Request, json_answer
from sandbox.received import Outcome, Received


class HttpApp:
    """The handler of every HTTP connection."""

    def __init__(self, providers: Sequence[Provider], received: Received, rules: Rules) -> None:
        self._providers = providers
        self._received = received
        self._rules = rules

    def __call__(self, request: Request, connection: Connection) -> None:
        """Answers `request` on `connection`, or doesn't, as the rules have it."""
        provider = self._provider_of(request.path)
        try:
            if provider is None:
                connection.answer(inspect(request, self._received, self._rules))
            else:
                self._play(provider, provider.read(request), connection)
        except AnsweredError as answered:
            connection.answer(answered.answer)

    def _provider_of(self, path: str) -> Provider | None:
        for provider in self._providers:
            if path == provider.path or path.startswith(provider.path + "/"):
                return provider
        return None

    def _play(self, provider: Provider, delivery: Delivery, connection: Connection) -> None:
        behaviour = self._rules.choose(provider.kind, delivery.to, delivery.key or "")
        if behaviour.drop == "before":
            connection.close()
        elif behaviour.status is not None:
            self._keep(provider, delivery, "refused")
            connection.answer(_refusal(behaviour, behaviour.status))
        elif behaviour.hang:
            self._keep(provider, delivery, "hung")
        elif behaviour.drop == "after":
            self._keep(provider, delivery, "dropped")
            connection.close()
            _take(delivery)
        else:
            self._keep(provider, delivery, "accepted")
            _answer_after(behaviour.slow_seconds, connection, delivery.answer)
            _take(delivery)

    def _keep(self, provider: Provider, delivery: Delivery, outcome: Outcome) -> None:
        self._received.add(provider.kind, outcome, (delivery.to,), delivery.key, delivery.details)


def _take(delivery: Delivery) -> None:
    delivery.on_taken()
    call_back(*delivery.callbacks)


def _answer_after(seconds: float | None, connection: Connection, answer: Answer) -> None:
    if seconds is None:
        connection.answer(answer)
    else:
        asyncio.get_running_loop().call_later(seconds, connection.answer, answer)


def _refusal(behaviour: Behaviour, status: int) -> Answer:
    body = behaviour.body
    if body is None:
        body = {"error": PHRASES.get(status, "Refused")}
    headers = {}
    if behaviour.retry_after_seconds is not None:
        headers["Retry-After"] = str(behaviour.retry_after_seconds)
    if isinstance(body, str):
        return Answer(status, body.encode(), "text/plain; charset=utf-8", headers)
    return json_answer(status, body, headers)
