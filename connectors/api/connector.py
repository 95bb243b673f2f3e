"""Any HTTP API: the message's recipient is a path below a configured address, its payload or body
is sent as it is, and whatever a 2xx answers is kept; unless the settings say otherwise.
"""

import json
import math
from datetime import UTC, datetime, timedelta
from typing import Any, ClassVar
from urllib.parse import quote, unquote

from connectors.api.settings import RESERVED_HEADERS, ApiSettings
from connectors.api.templates import Template, fields_of
from connectors.base import (
    Accepted,
    Channel,
    Misconfigured,
    OutboundMessage,
    Rejected,
    Reply,
    SendError,
    Unavailable,
    Uncertain,
)
from connectors.toolkit import oauth, standard_webhooks
from connectors.toolkit.generic_webhooks import WebhookConnector
from connectors.toolkit.http import is_header
from connectors.toolkit.http.replies import (
    Response,
    excerpt,
    message_id,
    parse_retry_after,
    response_error,
)
from connectors.toolkit.json_paths import first, select
from connectors.toolkit.tokens import TokenSource, with_token

MAX_PATH_CHARACTERS = 8_000
MAX_HEADER_CHARACTERS = 4_000
MAX_BODY_CHARACTERS = 1_000_000


class Api(WebhookConnector[ApiSettings]):
    """Sends messages of any channel to a generic HTTP API."""

    Settings = ApiSettings
    channels: ClassVar[frozenset[Channel]] = frozenset({"http", "payment", "push", "sms", "email"})

    def __init__(self, settings: ApiSettings) -> None:
        super().__init__(settings)
        self._tokens = self._token_source()
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

    def _token_source(self) -> TokenSource | None:
        settings = self.settings
        limit = timedelta(seconds=settings.total_timeout_seconds)
        if settings.oauth:
            return oauth.client_credentials(settings.oauth, self.http, limit)
        if settings.service_account:
            account = settings.service_account
            return oauth.service_account(account.key, account.scopes, self.http, limit)
        return None

    @property
    def deadline(self) -> timedelta:
        if self._tokens is None:
            return super().deadline
        # With a token that turns out to be refused, all is done twice.
        return 2 * (super().deadline + self._tokens.wait_limit)

    def send(self, message: OutboundMessage) -> Accepted:
        path = self._path(message)
        content = self._content(message)
        headers = self._headers(message)
        hide = [*self._secrets(), path.strip("/"), content, message.recipient, message.body]

        def call(token: str | None) -> Response:
            hide.append(token)
            return self._call(message, path, headers, content.encode(), token)

        if self._tokens is not None:
            response = with_token(self._tokens, call)
        else:
            token = self.settings.token
            response = call(token.get_secret_value() if token else None)
        return self._outcome(response, hide)

    def _call(
        self,
        message: OutboundMessage,
        path: str,
        headers: dict[str, str],
        body: bytes,
        token: str | None,
    ) -> Response:
        settings = self.settings
        if token:
            headers = {**headers, "Authorization": f"{settings.auth_scheme} {token}"}
        if settings.signing_secrets:
            now = datetime.now(UTC)
            headers |= standard_webhooks.sign(settings.signing_secrets, message.uid, now, body)
        return self.http.request(
            settings.method, settings.uri + path, headers=headers, body=body or None
        )

    def _path(self, message: OutboundMessage) -> str:
        if self._path_template is None:
            return _recipient_path(message)
        path = self._path_template.render(fields_of(message)).strip()
        if not _leads_below(path):
            raise self._path_template.failed("makes no path below the uri")
        return path if path.startswith("/") else "/" + path

    def _content(self, message: OutboundMessage) -> str:
        if self._body_template is not None:
            return self._body_template.render(fields_of(message))
        return message.body if message.payload is None else json.dumps(message.payload)

    def _headers(self, message: OutboundMessage) -> dict[str, str]:
        settings = self.settings
        ours = {name: value.get_secret_value() for name, value in settings.headers.items()}
        for name, template in self._header_templates.items():
            ours[name] = template.render(fields_of(message)).strip()
            if not is_header(name, ours[name]):
                raise template.failed("makes no value of a header")
        taken = RESERVED_HEADERS | {name.lower() for name in ours}
        if settings.signing_secrets:
            taken |= standard_webhooks.HEADERS
        for name, value in message.headers.items():
            if name.lower() in taken or not is_header(name, value):
                raise Rejected("header_not_allowed", excerpt(name))
        defaults = {"Content-Type": settings.content_type, "Idempotency-Key": message.uid}
        given = {name.lower() for name in (*ours, *message.headers)}
        return {
            **{name: value for name, value in defaults.items() if name.lower() not in given},
            **message.headers,
            **ours,
        }

    def _secrets(self) -> list[str | None]:
        return [secret.get_secret_value() for secret in self.settings.headers.values()]

    def _outcome(self, response: Response, hide: list[str | None]) -> Accepted:
        settings = self.settings
        status = response.status
        try:
            document = response.json()
            legible = True
        except ValueError:
            document = None
            legible = False
        wait = _wait(first(settings.retry_after_path, document))
        if status not in (settings.success_statuses or range(200, 300)):
            raise self._refusal(response, hide, wait)
        if settings.success_path is not None:
            if not legible:
                raise Uncertain("illegible_reply", f"{status}, and no JSON to tell success by")
            if not self._is_success(select(settings.success_path, document)):
                said = excerpt(response.text, hide)
                # Whoever names a wait wants to be asked again.
                if wait is not None:
                    raise Unavailable(str(status), said, retry_after=wait)
                raise Rejected(str(status), said)
        provider_id = message_id(first(settings.id_path, document))
        content_type = response.headers.get("Content-Type")
        return Accepted(provider_id, str(status), reply=Reply(response.text, content_type, status))

    def _is_success(self, found: list[Any]) -> bool:
        expected = self.settings.success_value
        if expected is None:
            return bool(found)
        # To Python, true is 1; in JSON it is not.
        return any(
            value == expected and isinstance(value, bool) == isinstance(expected, bool)
            for value in found
        )

    def _refusal(
        self, response: Response, hide: list[str | None], wait: timedelta | None
    ) -> SendError:
        refused = response_error(response, hide)
        if isinstance(refused, Unavailable) and wait is not None:
            refused.retry_after = wait
        if response.status == 410 and self.settings.signing_secrets:
            # So a receiver of Standard Webhooks says that it wants no more of them.
            return Rejected(refused.code, refused.detail, suppress=True)
        if isinstance(refused, Misconfigured) and response.status not in {401, 407}:
            # The message chose the path, so this says nothing of the others: it must not stop
            # the agent.
            return Rejected(refused.code, refused.detail)
        return refused


def _template(source: str | None, setting: str, longest_characters: int) -> Template | None:
    return None if source is None else Template(source, setting, longest_characters)


def _recipient_path(message: OutboundMessage) -> str:
    """The recipient as a path, with its leading slash. Raises Rejected where it could name
    another host, or a path outside the configured one, to any reader of addresses.
    """
    if message.channel == "email":
        return "/" + quote(message.recipient, safe="")
    path = message.recipient
    decoded = unquote(path)
    if not _leads_below(path) or not decoded.isprintable() or {"@", "\\"} & set(decoded):
        raise Rejected("path_not_allowed", "the recipient is no path of this API")
    return path if path.startswith("/") else "/" + path


def _leads_below(path: str) -> bool:
    """Whether a path, with or without its leading slash and query, stays below the address that
    it is appended to."""
    decoded = unquote(path.partition("?")[0])
    return not (
        path.startswith("//")
        or not path.isprintable()
        or not decoded.isprintable()
        or {"#", "\\"} & set(path)
        or "\\" in decoded
        or ":" in path.partition("/")[0]
        or {".", ".."} & set(decoded.split("/"))
    )


def _wait(value: Any) -> timedelta | None:
    """The wait that a number of seconds in a reply asks for."""
    if isinstance(value, float) and math.isfinite(value):
        value = math.ceil(value)
    if isinstance(value, bool) or not isinstance(value, int | str):
        return None
    return parse_retry_after(str(value), datetime.now(UTC))
