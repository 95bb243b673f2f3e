"""Settings that HTTP connectors share: URLs, headers, limits."""

import re
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, SecretStr, StringConstraints, model_validator

from connectors.base import ConnectorSettings
from connectors.toolkit.guard import Networks

_HEADER_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")


def is_header(name: str, value: str) -> bool:
    """Return whether a name and a value form a valid header field (RFC 9110, 5.1 and 5.5)."""
    return bool(_HEADER_NAME.fullmatch(name)) and _is_header_value(value)


def _is_header_value(value: str) -> bool:
    return value.isascii() and value.isprintable() and value == value.strip()


def _check_url(url: str) -> str:
    parts = urlsplit(url)
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise ValueError("must be an http:// or https:// URL with a host")
    if parts.username is not None or parts.password is not None:
        raise ValueError("must not contain a user name or password")
    if parts.fragment:
        raise ValueError("must not contain a fragment")
    if not url.isascii() or not url.isprintable() or {" ", "\\"} & set(url):
        raise ValueError("must be percent-encoded")
    if parts.port == 0:
        raise ValueError("must have a port between 1 and 65535")
    return url


def _check_base_url(url: str) -> str:
    if "?" in url:
        raise ValueError("must not contain a query")
    return url.rstrip("/")


def _check_header_secret(secret: SecretStr) -> SecretStr:
    if not _is_header_value(secret.get_secret_value()):
        raise ValueError("must be printable ASCII without a space at either end")
    return secret


HttpUrl = Annotated[str, AfterValidator(_check_url)]
BaseUrl = Annotated[HttpUrl, AfterValidator(_check_base_url)]
"""A URL that paths are appended to: it has no query, and no slash at the end."""
HeaderName = Annotated[str, StringConstraints(pattern=rf"^{_HEADER_NAME.pattern}$")]
HeaderSecret = Annotated[SecretStr, AfterValidator(_check_header_secret)]
Seconds = Annotated[float, Field(gt=0, le=300, allow_inf_nan=False)]


class HttpSettings(ConnectorSettings):
    """The settings of every HTTP connector.

    A slow name lookup cannot be interrupted and may exceed these limits; the request is then not
    sent.
    """

    connect_timeout_seconds: Seconds = 5
    """The maximum time to connect to one address of the host, and again for the TLS handshake."""
    read_timeout_seconds: Seconds = 15
    """The maximum time to wait for the next data of a response."""
    total_timeout_seconds: Seconds = 30
    """The maximum time for a request as a whole."""
    response_limit_bytes: int = Field(default=262_144, gt=0)
    """How much of a response is read."""
    allow_networks: Networks = ()
    """Networks that are not public and may be connected to all the same: `10.1.0.0/16`,
    `loopback` or `private`."""

    @model_validator(mode="after")
    def _check_timeouts(self) -> "HttpSettings":
        if self.total_timeout_seconds < max(
            self.connect_timeout_seconds, self.read_timeout_seconds
        ):
            raise ValueError("total_timeout_seconds: must not be less than the other two timeouts")
        return self
