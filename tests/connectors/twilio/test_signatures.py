import base64
import hashlib
import hmac
from collections.abc import Callable
from datetime import UTC, datetime
from urllib.parse import urlencode

import pytest

from connectors.base import (
    MalformedWebhook,
    Received,
    UnsignedWebhook,
    UnverifiedWebhook,
    WebhookRequest,
)
from tests.connectors.twilio.calls import BASE, REPORT, SMS, TOKEN, call, signed

SECOND, THIRD = "1" * 32, "2" * 32
JSON_BODY = b'{"type":"test","n":1}'
JSON_URL = (
    f"{BASE}/json?bodySHA256=0d6989a354d9744770f7adba5a748f901d15b76222e00eb061c8f2619777a081"
)


def verdict(receive: Callable[[WebhookRequest], Received], webhook: WebhookRequest) -> str:
    """What the signature is taken for; a call that says nothing legible may be signed, too."""
    try:
        receive(webhook)
    except UnsignedWebhook:
        return "unsigned"
    except UnverifiedWebhook:
        return "forged"
    except MalformedWebhook:
        return "signed"
    return "signed"


CLASSIC = {
    "CallSid": "CA1234567890ABCDE",
    "Digits": "1234",
    "From": "+14158675309",
    "To": "+18005551212",
    "Caller": "+14158675309",
}
SHA256 = "key=postroom,algorithm=HMAC_SHA256"
VECTORS = {
    "classic": (
        "12345",
        "https://mycompany.com/myapp.php?foo=1&bar=2",
        urlencode(CLASSIC).encode(),
        "RSOYDt4T1cUTdK1PDd93/VVr8B8=",
        {},
    ),
    "status": (
        TOKEN,
        f"{BASE}/status?acct=1",
        urlencode(REPORT).encode(),
        "iL9EG87pSDqEDmUiDQxp66Rfx3A=",
        {},
    ),
    "beyond ASCII": (
        TOKEN,
        f"{BASE}/inbound",
        urlencode(SMS).encode(),
        "ADr2DAL5MNcwc+AgD8rKmWSKiUE=",
        {},
    ),
    "with its port": (
        TOKEN,
        f"{BASE}/inbound",
        urlencode(SMS).encode(),
        "Dg/CX78Ejyl+DyZMpDItTHyUdX4=",
        {},
    ),
    "without its port": (
        TOKEN,
        f"{BASE}/inbound".replace(".com", ".com:443"),
        urlencode(SMS).encode(),
        "ADr2DAL5MNcwc+AgD8rKmWSKiUE=",
        {},
    ),
    "SHA-256": (
        TOKEN,
        f"{BASE}/inbound",
        urlencode(SMS).encode(),
        "kPsdYiza6vPa5ow810LNMThFa5i5rBGC6/xyFSCEXYU=",
        {"x_twilio_webhooks_signature_settings": SHA256},
    ),
    "SHA-1, said so": (
        TOKEN,
        f"{BASE}/inbound",
        urlencode(SMS).encode(),
        "ADr2DAL5MNcwc+AgD8rKmWSKiUE=",
        {"x_twilio_webhooks_signature_settings": "key=postroom, algorithm=HMAC_SHA1"},
    ),
    "JSON": (
        TOKEN,
        JSON_URL,
        JSON_BODY,
        "PnTGtJCN32rYHjS1E2Mtrfsc5NM=",
        {"content_type": "application/json"},
    ),
}


@pytest.mark.parametrize(
    ("token", "url", "body", "signature", "headers"), VECTORS.values(), ids=VECTORS
)
def test_a_signature_of_twilio_is_recognised(make_receiver, token, url, body, signature, headers):
    receive = make_receiver(auth_token=token).receive

    assert verdict(receive, call(url, signature, body, **headers)) == "signed"
    assert verdict(receive, call(url, signature[1:], body, **headers)) == "forged"
    assert verdict(receive, call(f"{url}x", signature, body, **headers)) == "forged"
    assert verdict(receive, call(url, signature, body + b"x", **headers)) == "forged"
    assert verdict(receive, call(url, None, body, **headers)) == "unsigned"
    assert verdict(receive, call(url, "", body, **headers)) == "unsigned"
    others = make_receiver(auth_token="other").receive
    assert verdict(others, call(url, signature, body, **headers)) == "forged"


@pytest.mark.parametrize(
    ("body", "text"),
    [
        (b"A=2&A=1&A=2", "A1A2"),
        (b"b=1&B=2", "B2b1"),
        (b"A=&B=+1+", "AB 1 "),
        (b"A=%C3%A9&%C3%A9=A", "A\u00e9\u00e9A"),
        (b"", ""),
    ],
)
def test_the_fields_are_signed_sorted_and_once_each(receive, body, text):
    digest = hmac.digest(TOKEN.encode(), f"{BASE}/status{text}".encode(), hashlib.sha1)
    signature = base64.b64encode(digest).decode()

    assert verdict(receive, call(f"{BASE}/status", signature, body)) == "signed"


@pytest.mark.parametrize(
    "settings", ["", "key=x", "key=x,algorithm=MD5", "algorithm=HMAC_SHA1x", SHA256]
)
def test_an_algorithm_that_nobody_knows_is_no_signature(receive, settings):
    url, body, signature = f"{BASE}/inbound", urlencode(SMS).encode(), VECTORS["beyond ASCII"][3]
    header = {"x_twilio_webhooks_signature_settings": settings}

    assert verdict(receive, call(url, signature, body, **header)) == "forged"


def test_a_get_is_signed_by_its_url_alone(receive):
    url = f"{BASE}/inbound?{urlencode(SMS)}"
    digest = hmac.digest(TOKEN.encode(), url.encode(), hashlib.sha1)
    headers = {"x-twilio-signature": base64.b64encode(digest).decode()}
    get = WebhookRequest("inbound", "GET", url, headers, b"Body=forged", datetime.now(UTC))

    [message] = receive(get).items

    assert message.body == SMS["Body"]


@pytest.mark.parametrize(
    ("url", "body", "headers"),
    [
        (JSON_URL, b'{"type":"test","n":2}', {"content_type": "application/json"}),
        (JSON_URL.partition("?")[0], JSON_BODY, {"content_type": "application/json"}),
        (JSON_URL, JSON_BODY, {}),
        (f"{BASE}/status", b"A=%ff", {}),
        (f"{BASE}/status", b"A=\xff", {}),
        (f"{BASE}/status", b"&".join([b"A=1"] * 1001), {}),
    ],
)
def test_a_body_that_the_signature_does_not_cover_is_not_read(receive, url, body, headers):
    digest = hmac.digest(TOKEN.encode(), url.encode(), hashlib.sha1)
    signature = base64.b64encode(digest).decode()

    assert verdict(receive, call(url, signature, body, **headers)) == "forged"


@pytest.mark.parametrize(
    ("current", "others", "expected"),
    [
        (TOKEN, [], "signed"),
        (TOKEN, [SECOND, THIRD], "signed"),
        (SECOND, [TOKEN], "signed"),
        (SECOND, [THIRD, TOKEN], "signed"),
        (SECOND, [THIRD], "forged"),
        (SECOND, [], "forged"),
    ],
)
def test_while_tokens_are_changed_each_is_good(make_receiver, current, others, expected):
    receive = make_receiver(auth_token=current, webhook_auth_tokens=others).receive

    assert verdict(receive, signed(REPORT)) == expected
