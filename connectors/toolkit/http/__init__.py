"""Calls to a provider over HTTP: settings, client and the base class of HTTP connectors."""

from connectors.toolkit.http.client import (
    BaseAddress,
    HeaderName,
    HeaderSecret,
    HttpAddress,
    HttpClient,
    HttpConnector,
    HttpSettings,
    Seconds,
    is_header,
)

__all__ = [
    "BaseAddress",
    "HeaderName",
    "HeaderSecret",
    "HttpAddress",
    "HttpClient",
    "HttpConnector",
    "HttpSettings",
    "Seconds",
    "is_header",
]
