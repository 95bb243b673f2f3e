"""Calls to a provider over HTTP: settings, client and the base class of HTTP connectors."""

from connectors.toolkit.http.client import (
    BaseUrl,
    HeaderName,
    HeaderSecret,
    HttpClient,
    HttpConnector,
    HttpSettings,
    HttpUrl,
    Seconds,
    is_header,
)
from connectors.toolkit.http.replies import Response, excerpt, message_id, response_error

__all__ = [
    "BaseUrl",
    "HeaderName",
    "HeaderSecret",
    "HttpClient",
    "HttpConnector",
    "HttpSettings",
    "HttpUrl",
    "Response",
    "Seconds",
    "excerpt",
    "is_header",
    "message_id",
    "response_error",
]
