"""Send push notifications through Firebase Cloud Messaging (HTTP v1 API).

Source: https://firebase.google.com/docs/reference/fcm/rest/v1/projects.messages
"""

import json
from collections.abc import Iterator, Mapping
from datetime import timedelta
from typing import Any, ClassVar
from urllib.parse import quote

from connectors.base import Accepted, Channel, OutboundMessage, Rejected
from connectors.fcm.errors import ERRORS, classify, is_token_rejected
from connectors.fcm.settings import FcmSettings
from connectors.toolkit.http import HttpConnector, Response, message_id
from connectors.toolkit.service_accounts import service_account
from connectors.toolkit.tokens import with_token

SCOPE = "https://www.googleapis.com/auth/firebase.messaging"
MAX_BYTES = 4096
MAX_TOPIC_BYTES = 2048
MIN_HIDDEN_CHARACTERS = 4

TARGETS = frozenset({"token", "topic", "condition", "fid"})
PLATFORMS = ("android", "apns", "webpush")


class Fcm(HttpConnector[FcmSettings]):
    """Send push notifications through Firebase Cloud Messaging.

    The recipient is a registration token, `topic:<name>` or `condition:<expression>`.
    """

    Settings = FcmSettings
    channels: ClassVar[frozenset[Channel]] = frozenset({"push"})
    documentation = "https://firebase.google.com/docs/reference/fcm/rest/v1/projects.messages"
    errors = ERRORS

    def __init__(self, settings: FcmSettings) -> None:
        super().__init__(settings)
        self._url = (
            f"{settings.base_url.rstrip('/')}/v1/projects/{quote(settings.project)}/messages:send"
        )
        self._tokens = service_account(
            settings.service_account, [SCOPE], self.http, super().send_timeout
        )

    @property
    def send_timeout(self) -> timedelta:
        return 2 * (super().send_timeout + self._tokens.wait_limit)

    def send(self, message: OutboundMessage) -> Accepted:
        request = _request(message)
        content = request["message"]
        _check_size(content)
        hide = [message.recipient, *_texts(request)]

        def post(token: str) -> Response:
            hide.append(token)
            authorization = {"Authorization": f"Bearer {token}"}
            return self.http.request("POST", self._url, headers=authorization, json=request)

        response = with_token(self._tokens, post, is_token_rejected)
        if response.is_success:
            provider_id = message_id(response.json_object().get("name"))
            return Accepted(provider_id, str(response.status))
        error = classify(response, hide)
        is_device = message.recipient in (content.get("token"), content.get("fid"))
        if isinstance(error, Rejected) and error.suppress and not is_device:
            # The payload names the device; the recipient is only a label.
            raise Rejected(error.code, error.detail)
        raise error


def _request(message: OutboundMessage) -> dict[str, Any]:
    """Return the JSON body of the request.

    A payload with the key `message` is the whole body; any other payload is the message itself.
    It is sent unchanged, except that the recipient is added where it names no target.
    """
    payload = message.payload
    if payload is None:
        return {"message": _target(message.recipient) | _content(message)}
    request = (
        payload if isinstance(payload, dict) and "message" in payload else {"message": payload}
    )
    content = request["message"]
    if not isinstance(content, dict):
        raise Rejected("payload_not_allowed", "payload: the message must be a JSON object")
    if TARGETS.isdisjoint(content):
        return {**request, "message": _target(message.recipient) | content}
    return request


def _target(recipient: str) -> dict[str, Any]:
    kind, colon, name = recipient.partition(":")
    if colon and kind in {"topic", "condition"}:
        return {kind: name}
    return {"token": recipient}


def _content(message: OutboundMessage) -> dict[str, Any]:
    content: dict[str, Any] = {}
    notification = {"title": message.subject, "body": message.body}
    if notification := {name: text for name, text in notification.items() if text}:
        content["notification"] = notification
    if message.metadata:
        # FCM only accepts strings as values of `data`.
        content["data"] = {
            name: value if isinstance(value, str) else _compact(value)
            for name, value in message.metadata.items()
        }
    return content


def _check_size(content: Mapping[str, Any]) -> None:
    """Raise Rejected if FCM would refuse the message as too large.

    A device receives the parts for all platforms and those for its own.
    """
    limit = MAX_TOPIC_BYTES if {"topic", "condition"} & content.keys() else MAX_BYTES
    common = {name: content[name] for name in ("notification", "data") if name in content}
    own = [{name: content[name]} for name in PLATFORMS if name in content] or [{}]
    size = max(len(_compact(common | platform).encode(errors="replace")) for platform in own)
    if size > limit:
        raise Rejected("message_too_large", f"{size} bytes; the limit is {limit}")


def _compact(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def _texts(value: Any) -> Iterator[str]:
    """Yield the texts and numbers in a JSON value that are long enough to be worth hiding."""
    if isinstance(value, dict):
        for inner in value.values():
            yield from _texts(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _texts(inner)
    elif len(text := str(value)) >= MIN_HIDDEN_CHARACTERS:
        yield text
