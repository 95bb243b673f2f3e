"""The sandbox's own paths: what it received, how it is to misbehave, and a page for people.

GET /received?kind=&to=&outcome=&after=&limit=   DELETE /received   GET /received/count
GET /control   PUT /control   DELETE /control
GET /
"""

from typing import Annotated, Literal
from urllib.parse import parse_qsl

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from sandbox.behaviour import Rule, Rules
from sandbox.page import page
from sandbox.provider import Answer, RefusedError, Request, json_answer
from sandbox.received import OUTCOMES, TAKEN, Outcome, Received

SHOWN_ON_PAGE = 50
METHODS = {
    "/": ("GET",),
    "/received": ("GET", "DELETE"),
    "/received/count": ("GET",),
    "/control": ("GET", "PUT", "DELETE"),
}


class Filter(BaseModel):
    """The query of `GET /received`. Without an outcome: what was taken; `*` is every outcome."""

    model_config = ConfigDict(extra="forbid")

    kind: str | None = None
    to: str | None = None
    outcome: Outcome | Literal["*"] | None = None
    after: Annotated[int, Field(ge=0)] = 0
    limit: Annotated[int, Field(ge=1)] = 1000

    def outcomes(self) -> frozenset[str]:
        """The outcomes that are asked for."""
        if self.outcome is None:
            return TAKEN
        return frozenset(OUTCOMES if self.outcome == "*" else [self.outcome])


def inspect(request: Request, received: Received, rules: Rules) -> Answer:
    """Answers a request to one of the sandbox's own paths. Raises RefusedError."""
    if request.path not in METHODS:
        raise RefusedError(404, "nothing here: see / for what there is")
    match request.method, request.path:
        case "GET", "/":
            html = page(received.latest(SHOWN_ON_PAGE), received.counts(), rules.in_force())
            return Answer(200, html.encode(), "text/html; charset=utf-8")
        case "GET", "/received":
            return json_answer(200, _select(request.query, received))
        case "GET", "/control" | "/received/count":
            pass
        case "PUT", "/control":
            _put(request.body, rules)
        case "DELETE", "/control":
            rules.clear()
        case "DELETE", "/received":
            received.clear()
        case _:
            allowed = ", ".join(METHODS[request.path])
            raise RefusedError(405, f"expected {allowed}", {"Allow": allowed})
    return json_answer(200, rules.in_force() if request.path == "/control" else received.counts())


def _select(query: str, received: Received) -> list[dict[str, object]]:
    try:
        wanted = Filter.model_validate(dict(parse_qsl(query)))
    except ValidationError as error:
        raise RefusedError(400, _reasons(error)) from None
    records = received.select(
        kind=wanted.kind,
        to=wanted.to,
        outcomes=wanted.outcomes(),
        after=wanted.after,
        limit=wanted.limit,
    )
    return [record.as_json() for record in records]


def _put(body: bytes, rules: Rules) -> None:
    try:
        rules.put(Rule.model_validate_json(body))
    except ValidationError as error:
        raise RefusedError(400, _reasons(error)) from None
    except ValueError as error:
        raise RefusedError(400, str(error)) from None


def _reasons(error: ValidationError) -> str:
    return "; ".join(
        f"{'.'.join(map(str, reason['loc'])) or 'body'}: {reason['msg']}"
        for reason in error.errors(include_url=False, include_input=False)
    )
