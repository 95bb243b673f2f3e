"""Read responses of an HTTP API as the settings define success and failure."""

import math
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Any

from connectors.api.settings import ApiSettings
from connectors.base import (
    Accepted,
    Misconfigured,
    Rejected,
    Reply,
    SendError,
    Unavailable,
    Uncertain,
)
from connectors.toolkit.http import (
    Response,
    excerpt,
    message_id,
    parse_retry_after,
    response_error,
)
from connectors.toolkit.json_paths import first, select


def read_response(
    response: Response, settings: ApiSettings, hide: Iterable[str | None]
) -> Accepted:
    """Return the outcome of an accepted message.

    Args:
        response: The API's response.
        settings: The settings that define what a success is.
        hide: Values to replace by `***` in an exception's detail.

    Raises:
        SendError: The API did not accept the message, or it is not known whether it did.
    """
    status = response.status
    try:
        document = response.json()
        is_json = True
    except ValueError:
        document = None
        is_json = False
    wait = _wait(first(settings.retry_after_path, document))
    if status not in (settings.success_statuses or range(200, 300)):
        raise _refusal(response, settings, hide, wait)
    if settings.success_path is not None:
        if not is_json:
            raise Uncertain("invalid_response", f"{status}, but the response is not JSON")
        if not _is_success(document, settings):
            detail = excerpt(response.text, hide)
            # An API that names a wait expects another attempt.
            if wait is not None:
                raise Unavailable(str(status), detail, retry_after=wait)
            raise Rejected(str(status), detail)
    provider_id = message_id(first(settings.id_path, document))
    content_type = response.headers.get("Content-Type")
    return Accepted(provider_id, str(status), reply=Reply(response.text, content_type, status))


def _is_success(document: Any, settings: ApiSettings) -> bool:
    found = select(settings.success_path, document)
    expected = settings.success_value
    if expected is None:
        return bool(found)
    # True == 1 in Python, but not in JSON.
    return any(
        value == expected and isinstance(value, bool) == isinstance(expected, bool)
        for value in found
    )


def _refusal(
    response: Response,
    settings: ApiSettings,
    hide: Iterable[str | None],
    wait: timedelta | None,
) -> SendError:
    error = response_error(response, hide)
    if isinstance(error, Unavailable) and wait is not None:
        error.retry_after = wait
    if response.status == 410 and settings.signing_secrets:
        # Standard Webhooks: the receiver does not want any more messages.
        return Rejected(error.code, error.detail, suppress=True)
    if isinstance(error, Misconfigured) and response.status not in {401, 407}:
        # The message chose the path, so the status says nothing about other messages and must not
        # pause the agent.
        return Rejected(error.code, error.detail)
    return error


def _wait(value: Any) -> timedelta | None:
    """Return the wait for a number of seconds found in a response."""
    if isinstance(value, float) and math.isfinite(value):
        value = math.ceil(value)
    if isinstance(value, bool) or not isinstance(value, int | str):
        return None
    return parse_retry_after(str(value), datetime.now(UTC))
