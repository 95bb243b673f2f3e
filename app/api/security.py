"""Who is asking, by `Authorization: Bearer`, `X-API-Token` or HTTP Basic (name:token)."""

from http import HTTPStatus

from flask import g, request
from sqlalchemy.exc import DBAPIError

from app import db
from app.api.problems import ProblemError
from app.auth import tokens as auth
from app.settings import settings

# Browsers ask for name and token where Basic is offered, which opens /docs to them.
CHALLENGE = 'Bearer realm="postroom", Basic realm="postroom", charset="UTF-8"'


def authorise(scope: auth.Scope | None) -> None:
    """Let the request pass where its token has `scope`, or is any token where that is None.
    Nobody is asked for `receive` where the settings say so. Raises ProblemError: 401, or 403 out
    of scope."""
    if scope == "receive" and settings().webhook_verify == "none":
        return
    token, name = _credentials()
    try:
        g.client = _find(token, name)
    except auth.TokenError as error:
        raise _unauthorised(str(error)) from None
    if scope is not None and scope not in g.client.scopes:
        raise ProblemError(HTTPStatus.FORBIDDEN, f"the token lacks the scope {scope}")


def client() -> auth.Client:
    """Who is asking, once authorised."""
    known: auth.Client = g.client
    return known


def _credentials() -> tuple[str, str | None]:
    """The token, and the name that must be its own."""
    given = request.authorization
    if given is not None and given.type == "bearer" and given.token:
        return given.token, None
    if given is not None and given.type == "basic" and given.password:
        return given.password, given.username or ""
    if "Authorization" not in request.headers and request.headers.get("X-API-Token"):
        return request.headers["X-API-Token"], None
    raise _unauthorised("a token is needed: Authorization Bearer or Basic, or X-API-Token")


def _find(token: str, name: str | None) -> auth.Client:
    try:
        with db.autocommit() as connection:
            return auth.find(connection, token, name=name)
    except DBAPIError as error:
        if not error.connection_invalidated:
            raise
    # This is the first statement of a request, so it is what meets a connection that died in the
    # pool. The pool has thrown all such away now.
    with db.autocommit() as connection:
        return auth.find(connection, token, name=name)


def _unauthorised(detail: str) -> ProblemError:
    return ProblemError(HTTPStatus.UNAUTHORIZED, detail, headers={"WWW-Authenticate": CHALLENGE})
