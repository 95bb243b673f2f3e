"""The start page and the API reference.

The pages are plain HTML and CSS: they load nothing and run no script.
"""

import secrets
from http import HTTPStatus
from typing import Any

from flask import Response, current_app, render_template
from pydantic import JsonValue, RootModel

from app.api.operations import Operation, Section

section = Section("docs")

HTML = "text/html; charset=utf-8"


class Description(RootModel[dict[str, JsonValue]]):
    """An OpenAPI 3.1 document."""


@section.serve(Operation("GET", "/openapi.json", {HTTPStatus.OK: Description}))
def get_openapi() -> Description:
    """Get the OpenAPI 3.1 description of this API."""
    return Description(current_app.extensions["openapi"])


@section.serve(Operation("GET", "/", {HTTPStatus.OK: HTML}, public=True))
def get_start_page() -> Response:
    """Get the start page, which links to the API reference."""
    return _page("start.html")


@section.serve(Operation("GET", "/docs", {HTTPStatus.OK: HTML}))
def get_docs() -> Response:
    """Get the API reference as a page."""
    spec: dict[str, Any] = current_app.extensions["openapi"]
    return _page("docs.html", spec=spec)


def _page(template: str, **values: Any) -> Response:
    nonce = secrets.token_urlsafe(16)
    response = Response(render_template(template, nonce=nonce, **values), content_type=HTML)
    response.headers["Content-Security-Policy"] = (
        f"default-src 'none'; style-src 'nonce-{nonce}'; base-uri 'none'; form-action 'none';"
        " frame-ancestors 'none'"
    )
    return response
