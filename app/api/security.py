"""Authentication by `Authorization: Bearer`, `X-API-Token` or HTTP Basic (name and token)."""

from http import HTTPStatus

from flask import g, request
from sqlalchemy.exc import DBAPIError

from app import db
from app.api.problems import ProblemError
from app.auth import tokens
from app.auth.tokens import Client, Scope, TokenError
from app.settings import settings

# Browsers offer a dialog for Basic, which gives people access to /docs. They read only the first
# challenge of a header, so each has a header of its own.
CHALLENGES = ('Bearer realm="postroom"', 'Basic realm="postroom", charset="UTF-8"')


def authorise(scope: Scope | None) -> None:
    """Check that the token of the request is valid and has `scope`; None accepts every token.

    The scope `receive` needs no token if POSTROOM_WEBHOOK_VERIFY is `none`.

    Raises:
        ProblemError: 401 without a valid token, 403 without the scope.
    """
    if scope == "receive" and settings().webhook_verify == "none":
        return
    token, name = _credentials()
    try:
        g.client = _find_client(token, name)
    except TokenError as error:
        raise _unauthorised(str(error)) from None
    if scope is not None and scope not in g.client.scopes:
        raise ProblemError(HTTPStatus.FORBIDDEN, f"The token does not have the scope {scope}.")


def client() -> Client:
    """Return the authenticated client."""
    known: Client = g.client
    return known


def _credentials() -> tuple[str, str | None]:
    """Return the token of the request and, for HTTP Basic, the name that goes with it."""
    try:
        given = request.authorization
    except ValueError:  # werkzeug does not catch this error of Basic credentials beyond ASCII
        given = None
    if given is not None and given.type == "bearer" and given.token:
        return given.token, None
    if given is not None and given.type == "basic" and given.password:
        return given.password, given.username or ""
    if "Authorization" not in request.headers and request.headers.get("X-API-Token"):
        return request.headers["X-API-Token"], None
    raise _unauthorised(
        "No token given. Use Authorization: Bearer, HTTP Basic, or the header X-API-Token."
    )


def _find_client(token: str, name: str | None) -> Client:
    try:
        with db.autocommit() as connection:
            return tokens.find_client(connection, token, name=name)
    except DBAPIError as error:
        if not error.connection_invalidated:
            raise
    # The first statement of a request meets pooled connections that have died. The pool has
    # discarded them all by now.
    with db.autocommit() as connection:
        return tokens.find_client(connection, token, name=name)


def _unauthorised(detail: str) -> ProblemError:
    return ProblemError(HTTPStatus.UNAUTHORIZED, detail, headers={"WWW-Authenticate": CHALLENGES})
