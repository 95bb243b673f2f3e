"""Send messages to any HTTP API.

By default, the recipient is the path below a base URL, the payload or body is sent unchanged, and
the response to an accepted message is stored. The settings can change each of these.
"""

from datetime import UTC, datetime, timedelta
from typing import ClassVar

from connectors.api.errors import read_response
from connectors.api.requests import Request, RequestBuilder
from connectors.api.settings import ApiSettings
from connectors.base import Accepted, Channel, OutboundMessage
from connectors.toolkit import oauth
from connectors.toolkit.generic_webhooks import WebhookConnector
from connectors.toolkit.http import Response
from connectors.toolkit.service_accounts import service_account
from connectors.toolkit.signatures import sign_standard
from connectors.toolkit.tokens import TokenSource, with_token


class Api(WebhookConnector[ApiSettings]):
    """Send messages of any channel to an HTTP API."""

    Settings = ApiSettings
    channels: ClassVar[frozenset[Channel]] = frozenset({"http", "payment", "push", "sms", "email"})

    def __init__(self, settings: ApiSettings) -> None:
        super().__init__(settings)
        self._requests = RequestBuilder(settings)
        self._tokens = self._token_source()

    def _token_source(self) -> TokenSource | None:
        settings = self.settings
        limit = timedelta(seconds=settings.total_timeout_seconds)
        if settings.oauth:
            return oauth.client_credentials(settings.oauth, self.http, limit)
        if settings.service_account:
            account = settings.service_account
            return service_account(account.key, account.scopes, self.http, limit)
        return None

    @property
    def send_timeout(self) -> timedelta:
        if self._tokens is None:
            return super().send_timeout
        # A rejected token is replaced and the request sent once more.
        return 2 * (super().send_timeout + self._tokens.wait_limit)

    def send(self, message: OutboundMessage) -> Accepted:
        request = self._requests.build(message)
        hide = [
            *(value.get_secret_value() for value in self.settings.headers.values()),
            request.path.strip("/"),
            request.body,
            message.recipient,
            message.body,
        ]

        def call(token: str | None) -> Response:
            if token:
                hide.append(token)
            return self._call(request, message.uid, token)

        if self._tokens is not None:
            response = with_token(self._tokens, call)
        else:
            token = self.settings.token
            response = call(token.get_secret_value() if token else None)
        return read_response(response, self.settings, hide)

    def _call(self, request: Request, uid: str, token: str | None) -> Response:
        settings = self.settings
        headers = request.headers
        body = request.body.encode()
        if token:
            headers = {**headers, "Authorization": f"{settings.auth_scheme} {token}"}
        if settings.signing_secrets:
            now = datetime.now(UTC)
            headers = headers | sign_standard(settings.signing_secrets, uid, now, body)
        return self.http.request(
            settings.method, settings.uri + request.path, headers=headers, body=body or None
        )
