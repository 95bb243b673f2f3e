"""Build the HTTP request for a message."""

import json
from dataclasses import dataclass
from urllib.parse import quote, unquote

from connectors.api.settings import MESSAGE_RESERVED_HEADERS, ApiSettings
from connectors.api.templates import Template
from connectors.base import OutboundMessage, Rejected
from connectors.toolkit.http import excerpt, is_header
from connectors.toolkit.signatures import STANDARD_HEADERS

MAX_PATH_CHARACTERS = 8_000
MAX_HEADER_CHARACTERS = 4_000
MAX_BODY_CHARACTERS = 1_000_000
MAX_DECODINGS = 5


@dataclass(frozen=True, slots=True)
class Request:
    """A request without credentials and signature.

    `path` starts with a slash and may contain a query. It is appended to the base URL.
    """

    path: str
    headers: dict[str, str]
    body: str


class RequestBuilder:
    """Builds requests according to the settings. Holds their compiled templates."""

    def __init__(self, settings: ApiSettings) -> None:
        self._settings = settings
        self._path_template = _template(
            settings.path_template, "path_template", MAX_PATH_CHARACTERS
        )
        self._body_template = _template(
            settings.body_template, "body_template", MAX_BODY_CHARACTERS
        )
        self._header_templates = {
            name: Template(source, f"header_templates.{name}", MAX_HEADER_CHARACTERS)
            for name, source in settings.header_templates.items()
        }

    def build(self, message: OutboundMessage) -> Request:
        """Return the request for a message.

        Raises:
            Rejected: The message has a recipient or a header that is not allowed, or a template
                cannot be rendered for it.
        """
        return Request(self._path(message), self._headers(message), self._body(message))

    def _path(self, message: OutboundMessage) -> str:
        if self._path_template is None:
            return _recipient_path(message)
        path = self._path_template.render(message).strip()
        if not _is_below_base(path):
            raise self._path_template.error("the result is not a path below uri")
        return path if path.startswith("/") else "/" + path

    def _body(self, message: OutboundMessage) -> str:
        if self._body_template is not None:
            return self._body_template.render(message)
        return message.body if message.payload is None else json.dumps(message.payload)

    def _headers(self, message: OutboundMessage) -> dict[str, str]:
        settings = self._settings
        own = {name: value.get_secret_value() for name, value in settings.headers.items()}
        for name, template in self._header_templates.items():
            own[name] = template.render(message).strip()
            if not is_header(name, own[name]):
                raise template.error("the result is not a valid header value")
        reserved = MESSAGE_RESERVED_HEADERS | {name.lower() for name in own}
        if settings.signing_secrets:
            reserved |= STANDARD_HEADERS
        for name, value in message.headers.items():
            if name.lower() in reserved:
                raise _header_error(name, "set by the agent")
            if not is_header(name, value):
                raise _header_error(name, "not a valid HTTP header")
        defaults = {"Content-Type": settings.content_type, "Idempotency-Key": message.uid}
        given = {name.lower() for name in (*own, *message.headers)}
        return {
            **{name: value for name, value in defaults.items() if name.lower() not in given},
            **message.headers,
            **own,
        }


def _template(source: str | None, setting: str, max_characters: int) -> Template | None:
    return None if source is None else Template(source, setting, max_characters)


def _header_error(name: str, reason: str) -> Rejected:
    return Rejected("header_not_allowed", f"headers.{excerpt(name)}: {reason}")


def _recipient_path(message: OutboundMessage) -> str:
    """Return the recipient as a path with a leading slash.

    Raises:
        Rejected: Some URL parser could read the recipient as another host, or as a path outside
            the base URL.
    """
    if message.channel == "email":
        return "/" + quote(message.recipient, safe="")
    path = message.recipient
    decoded = _decode(path)
    if decoded is None or not _is_below_base(path) or {"@", "\\"} & set(decoded):
        raise Rejected("path_not_allowed", "recipient: not a path below uri")
    return path if path.startswith("/") else "/" + path


def _is_below_base(path: str) -> bool:
    """Return whether a path stays below the base URL that it is appended to.

    Args:
        path: A path with an optional query, with or without a leading slash.
    """
    decoded = _decode(path.partition("?")[0])
    return not (
        decoded is None
        or path.startswith("//")
        or not path.isprintable()
        or {"#", "\\"} & set(path)
        or "\\" in decoded
        or ":" in path.partition("/")[0]
        # Some servers ignore the parameters of a segment, which follow a semicolon.
        or {".", ".."} & {segment.partition(";")[0] for segment in decoded.split("/")}
    )


def _decode(path: str) -> str | None:
    """Return a path without percent-encoding, as a server sees it that decodes repeatedly.

    Returns None if it decodes to control characters or to invalid UTF-8, such as an overlong form
    of a full stop, or is encoded too many times.
    """
    for _ in range(MAX_DECODINGS):
        try:
            decoded = unquote(path, errors="strict")
        except UnicodeDecodeError:
            return None
        if not decoded.isprintable():
            return None
        if decoded == path:
            return decoded
        path = decoded
    return None
