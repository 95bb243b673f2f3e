"""HTTP for connectors: settings, client, responses and the base class of HTTP connectors.

This is the import path for connectors in other packages.
"""

from connectors.toolkit.excerpts import excerpt, message_id
from connectors.toolkit.http.client import HttpClient, HttpConnector
from connectors.toolkit.http.replies import Response, parse_retry_after, response_error
from connectors.toolkit.http.settings import (
    BaseUrl,
    HeaderName,
    HeaderSecret,
    HttpSettings,
    HttpUrl,
    Seconds,
    is_header,
)

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
    "parse_retry_after",
    "response_error",
]
