"""The description of the API, for programs and for people.

The page is HTML and CSS alone: nothing to load from anywhere, and no script to trust.
"""

import secrets
from http import HTTPStatus
from typing import Any

from flask import Response, current_app, render_template
from pydantic import JsonValue, RootModel

from app.api.operations import Operation, Section

section = Section("docs")


class Description(RootModel[dict[str, JsonValue]]):
    """An OpenAPI 3.1 document."""


@section.serve(Operation("GET", "/openapi.json", {HTTPStatus.OK: Description}))
def openapi_json() -> Description:
    """Read this description as OpenAPI 3.1."""
    return Description(current_app.extensions["openapi"])


@section.serve(Operation("GET", "/docs", {HTTPStatus.OK: "text/html; charset=utf-8"}))
def page() -> Response:
    """Read this description as a page."""
    nonce = secrets.token_urlsafe(16)
    spec: dict[str, Any] = current_app.extensions["openapi"]
    response = Response(
        render_template("docs.html", spec=spec, nonce=nonce),
        content_type="text/html; charset=utf-8",
    )
    response.headers["Content-Security-Policy"] = (
        f"default-src 'none'; style-src 'nonce-{nonce}'; base-uri 'none'; form-action 'none';"
        " frame-ancestors 'none'"
    )
    return response
