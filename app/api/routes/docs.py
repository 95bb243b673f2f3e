"""The API reference.

The page is plain HTML and CSS: it loads nothing and runs no script.
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
def get_openapi() -> Description:
    """Get the OpenAPI 3.1 description of this API."""
    return Description(current_app.extensions["openapi"])


@section.serve(Operation("GET", "/docs", {HTTPStatus.OK: "text/html; charset=utf-8"}))
def get_docs() -> Response:
    """Get the API reference as a page."""
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
