"""Any HTTP API: the message's recipient is a path below a configured address, its payload or body
is sent as it is, and whatever a 2xx answers is kept.
"""

import json
from typing import Annotated, ClassVar, Literal
from urllib.parse import quote, unquote

from pydantic import AfterValidator, Field

from connectors.base import Accepted, Channel, Misconfigured, OutboundMessage, Rejected, Reply
from connectors.http import (
    HeaderName,
    HeaderSecret,
    HttpAddress,
    HttpConnector,
    HttpSettings,
    is_header,
)
from connectors.replies import excerpt, refusal

# A message may not speak with another identity than ours, nor frame the request anew.
RESERVED_HEADERS = frozenset(
    {
        "authorization",
        "connection",
        "content-length",
        "expect",
        "host",
        "keep-alive",
        "proxy-authorization",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    }
)


def _base_address(address: str) -> str:
    if "?" in address:
        raise ValueError("must hold no query")
    return address.rstrip("/")


def _not_reserved(name: str) -> str:
    if name.lower() in RESERVED_HEADERS:
        raise ValueError("is set by the connector itself")
    return name


class ApiSettings(HttpSettings):
    """One API and our identity there.

    `uri` is what every path is appended to. `headers` are sent with every request; their values
    are taken for secrets. Authorization is `auth_scheme` and `token`, absent without a token;
    for the scheme Basic the token is the encoded pair itself.
    """

    uri: Annotated[HttpAddress, AfterValidator(_base_address)]
    method: Literal["GET", "POST", "PUT", "PATCH", "DELETE"] = "POST"
    headers: dict[Annotated[HeaderName, AfterValidator(_not_reserved)], HeaderSecret] = Field(
        default_factory=dict
    )
    auth_scheme: HeaderName = "Bearer"
    token: HeaderSecret | None = None
    content_type: Annotated[str, Field(pattern=r"^[\x21-\x7e]+(; ?[\x21-\x7e]+)*$")] = (
        "application/json"
    )


class Api(HttpConnector[ApiSettings]):
    """Sends messages of any channel to a generic HTTP API."""

    Settings = ApiSettings
    channels: ClassVar[frozenset[Channel]] = frozenset({"http", "payment", "push", "sms", "email"})

    def send(self, message: OutboundMessage) -> Accepted:
        content = message.body if message.payload is None else json.dumps(message.payload)
        response = self.http.request(
            self.settings.method,
            self.settings.uri + _path(message),
            headers=self._headers(message),
            body=content.encode() or None,
        )
        status = response.status
        if not 200 <= status < 300:
            refused = refusal(response, hide=(*self._secrets(), message.recipient, content))
            if isinstance(refused, Misconfigured) and status not in {401, 407}:
                # The message chose the path, so this says nothing of the others: it must not
                # stop the agent.
                refused = Rejected(refused.code, refused.detail)
            raise refused
        content_type = response.headers.get("Content-Type")
        return Accepted(code=str(status), reply=Reply(response.text, content_type, status))

    def _headers(self, message: OutboundMessage) -> dict[str, str]:
        ours = {name: value.get_secret_value() for name, value in self.settings.headers.items()}
        taken = RESERVED_HEADERS | {name.lower() for name in ours}
        for name, value in message.headers.items():
            if name.lower() in taken or not is_header(name, value):
                raise Rejected("header_not_allowed", excerpt(name))
        if self.settings.token:
            token = self.settings.token.get_secret_value()
            ours["Authorization"] = f"{self.settings.auth_scheme} {token}"
        defaults = {"Content-Type": self.settings.content_type, "Idempotency-Key": message.uid}
        given = {name.lower() for name in (*ours, *message.headers)}
        return {
            **{name: value for name, value in defaults.items() if name.lower() not in given},
            **message.headers,
            **ours,
        }

    def _secrets(self) -> list[str]:
        settings = self.settings
        secrets = [*settings.headers.values(), *([settings.token] if settings.token else [])]
        return [secret.get_secret_value() for secret in secrets]


def _path(message: OutboundMessage) -> str:
    """The recipient as a path, with its leading slash. Raises Rejected where it could name
    another host, or a path outside the configured one, to any reader of addresses.
    """
    if message.channel == "email":
        return "/" + quote(message.recipient, safe="")
    path = message.recipient
    decoded = unquote(path)
    if (
        not decoded.isprintable()
        or path.startswith("//")
        or any(character in decoded for character in "@\\")
        or "#" in path
        or ":" in path.partition("/")[0]
        or {".", ".."} & set(decoded.partition("?")[0].split("/"))
    ):
        raise Rejected("path_not_allowed", "the recipient is no path of this API")
    return path if path.startswith("/") else "/" + path
