from datetime import UTC, datetime

import pytest

from connectors.base import MalformedWebhook, WebhookRequest


def request(query: str = "", body: bytes = b"") -> WebhookRequest:
    url = f"https://postroom.example.com/api/webhooks/a/status{query}"
    return WebhookRequest("status", "POST", url, {}, body, datetime.now(UTC))


def test_parameters_are_decoded_in_order_with_blank_ones() -> None:
    pairs = [("b", "1 2"), ("a", ""), ("b", "ё")]

    assert request(query="?b=1+2&a=&b=%D1%91").query == pairs
    assert request(body=b"b=1+2&a=&b=%D1%91").form == pairs
    assert (request().query, request().form) == ([], [])


def test_body_that_is_not_a_form_is_malformed() -> None:
    for body in (b"\xff", b"a=%FF", b"&".join(b"a=1" for _ in range(1001))):
        with pytest.raises(MalformedWebhook):
            request(body=body).form  # noqa: B018 - parses the body
