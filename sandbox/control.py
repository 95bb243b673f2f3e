"""The sandbox's own paths: received messages, rules, and the web page.

GET /
GET /received?kind=&to=&outcome=&after=&limit=    DELETE /received    GET /received/count
GET /control    PUT /control    DELETE /control
"""

from typing import Annotated, Literal
from urllib.parse import parse_qsl

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from sandbox.behaviour import Rule, Rules
from sandbox.page import render
from sandbox.provider import RefusedError, Request, Response, json_response
from sandbox.received import DELIVERED, OUTCOMES, Outcome, Received

MAX_SHOWN = 50
METHODS = {
    "/": ("GET",),
    "/received": ("GET", "DELETE"),
    "/received/count": ("GET",),
    "/control": ("GET", "PUT", "DELETE"),
}


class Filter(BaseModel):
    """The query of `GET /received`.

    Without `outcome`, only delivered messages are listed; `*` stands for all outcomes.
    """

    model_config = ConfigDict(extra="forbid")

    kind: str | None = None
    to: str | None = None
    outcome: Outcome | Literal["*"] | None = None
    after: Annotated[int, Field(ge=0)] = 0
    limit: Annotated[int, Field(ge=1)] = 1000

    def outcomes(self) -> frozenset[str]:
        """Return the outcomes to list."""
        if self.outcome is None:
            return DELIVERED
        return frozenset(OUTCOMES if self.outcome == "*" else [self.outcome])


def control(request: Request, received: Received, rules: Rules) -> Response:
    """Return the response to a request for one of the sandbox's own paths.

    Raises:
        RefusedError: No such path or method, or invalid input.
    """
    if request.path not in METHODS:
        raise RefusedError(404, "no such path. python -m sandbox --help lists them.")
    match request.method, request.path:
        case "GET", "/":
            html = render(received.latest(MAX_SHOWN), received.counts(), rules.as_json())
            return Response(200, html.encode(), "text/html; charset=utf-8")
        case "GET", "/received":
            return json_response(200, _select(request.query, received))
        case "GET", "/control" | "/received/count":
            pass
        case "PUT", "/control":
            _put_rule(request.body, rules)
        case "DELETE", "/control":
            rules.clear()
        case "DELETE", "/received":
            received.clear()
        case _:
            allowed = ", ".join(METHODS[request.path])
            raise RefusedError(405, f"method not allowed. Use {allowed}.", {"Allow": allowed})
    return json_response(200, rules.as_json() if request.path == "/control" else received.counts())


def _select(query: str, received: Received) -> list[dict[str, object]]:
    try:
        wanted = Filter.model_validate(dict(parse_qsl(query)))
    except ValidationError as error:
        raise RefusedError(400, _describe(error)) from None
    records = received.select(
        kind=wanted.kind,
        to=wanted.to,
        outcomes=wanted.outcomes(),
        after=wanted.after,
        limit=wanted.limit,
    )
    return [record.as_json() for record in records]


def _put_rule(body: bytes, rules: Rules) -> None:
    try:
        rules.put(Rule.model_validate_json(body))
    except ValidationError as error:
        raise RefusedError(400, _describe(error)) from None
    except ValueError as error:
        raise RefusedError(400, str(error)) from None


def _describe(error: ValidationError) -> str:
    """Return the problems of a validation error on one line, each with its field."""
    return "; ".join(
        f"{'.'.join(map(str, problem['loc'])) or 'body'}: {problem['msg']}"
        for problem in error.errors(include_url=False, include_input=False)
    )
