import hashlib
from datetime import UTC, datetime
from urllib.parse import urlencode

from connectors.base import (
    Attachment,
    MalformedWebhook,
    Received,
    UnsignedWebhook,
    UnverifiedWebhook,
    WebhookRequest,
    WebhookResponse,
)
from connectors.twilio.connector import Twilio
from tests.connectors.receiving import outcome
from tests.connectors.twilio.webhook_requests import (
    BASE,
    REPORT,
    SID,
    SMS,
    TOKEN,
    post,
    sign,
    signed,
)

JSON_BODY = b'{"type":"test","n":1}'
JSON_URL = (
    f"{BASE}/json?bodySHA256=0d6989a354d9744770f7adba5a748f901d15b76222e00eb061c8f2619777a081"
)
CLASSIC = {
    "CallSid": "CA1234567890ABCDE",
    "Digits": "1234",
    "From": "+14158675309",
    "To": "+18005551212",
    "Caller": "+14158675309",
}
INBOUND = f"{BASE}/inbound"
INBOUND_SIGNATURE = "ADr2DAL5MNcwc+AgD8rKmWSKiUE="
SETTINGS = "x_twilio_webhooks_signature_settings"


def is_verified(connector: Twilio, request: WebhookRequest) -> bool:
    """Return whether the signature is valid, even if the content is malformed."""
    result = outcome(connector, request)
    assert not isinstance(result, UnsignedWebhook)
    return not isinstance(result, UnverifiedWebhook)


# Signatures


def test_signatures_of_twilio_are_verified(make_receiver):
    report, sms = urlencode(REPORT).encode(), urlencode(SMS).encode()
    sha256 = {SETTINGS: "key=postroom,algorithm=HMAC_SHA256"}
    sha1 = {SETTINGS: "key=postroom, algorithm=HMAC_SHA1"}
    with_port = INBOUND.replace(".com", ".com:443")
    vectors: list[tuple[str, str, bytes, str, dict[str, str]]] = [
        # token, URL, body, signature, headers
        (
            "12345",
            "https://mycompany.com/myapp.php?foo=1&bar=2",
            urlencode(CLASSIC).encode(),
            "RSOYDt4T1cUTdK1PDd93/VVr8B8=",
            {},
        ),
        (TOKEN, f"{BASE}/status?acct=1", report, "iL9EG87pSDqEDmUiDQxp66Rfx3A=", {}),
        (TOKEN, INBOUND, sms, INBOUND_SIGNATURE, {}),
        # Signed with the port in the URL, then without it.
        (TOKEN, INBOUND, sms, "Dg/CX78Ejyl+DyZMpDItTHyUdX4=", {}),
        (TOKEN, with_port, sms, INBOUND_SIGNATURE, {}),
        (TOKEN, INBOUND, sms, "kPsdYiza6vPa5ow810LNMThFa5i5rBGC6/xyFSCEXYU=", sha256),
        (TOKEN, INBOUND, sms, INBOUND_SIGNATURE, sha1),
        (
            TOKEN,
            JSON_URL,
            JSON_BODY,
            "PnTGtJCN32rYHjS1E2Mtrfsc5NM=",
            {"content_type": "application/json"},
        ),
    ]
    other = make_receiver(auth_token="other")
    failures = []
    for token, url, body, signature, headers in vectors:
        twilio = make_receiver(auth_token=token)
        verdicts = [
            is_verified(twilio, post(url, signature, body, **headers)),
            not is_verified(twilio, post(url, signature[1:], body, **headers)),
            not is_verified(twilio, post(f"{url}x", signature, body, **headers)),
            not is_verified(twilio, post(url, signature, body + b"x", **headers)),
            not is_verified(other, post(url, signature, body, **headers)),
        ]
        if not all(verdicts):
            failures.append((url, signature, verdicts))
    assert not failures


def test_webhook_without_a_signature_is_unsigned(make_receiver):
    for signature in (None, ""):
        request = post(f"{BASE}/status", signature, urlencode(REPORT).encode())
        assert isinstance(outcome(make_receiver(), request), UnsignedWebhook)


def test_fields_are_signed_in_order_and_once_each(make_receiver):
    twilio = make_receiver()
    table = [
        (b"A=2&A=1&A=2", "A1A2"),
        (b"b=1&B=2", "B2b1"),
        (b"A=&B=+1+", "AB 1 "),
        (b"A=%C3%A9&%C3%A9=A", "A\u00e9\u00e9A"),
        (b"", ""),
    ]
    url = f"{BASE}/status"
    failures = [
        body for body, text in table if not is_verified(twilio, post(url, sign(url + text), body))
    ]
    assert not failures


def test_unknown_signature_algorithm_is_unverified(make_receiver):
    twilio, body = make_receiver(), urlencode(SMS).encode()
    table = ["", "key=x", "key=x,algorithm=MD5", "algorithm=HMAC_SHA1x", "algorithm=HMAC_SHA256"]
    accepted = [
        settings
        for settings in table
        if is_verified(twilio, post(INBOUND, INBOUND_SIGNATURE, body, **{SETTINGS: settings}))
    ]
    assert not accepted


def test_get_request_is_signed_by_its_url_alone(make_receiver):
    url = f"{INBOUND}?{urlencode(SMS)}"
    headers = {"x-twilio-signature": sign(url)}
    request = WebhookRequest("inbound", "GET", url, headers, b"Body=forged", datetime.now(UTC))

    [message] = make_receiver().receive(request).items

    assert message.body == SMS["Body"]


def test_body_that_the_signature_does_not_cover_is_unverified(make_receiver):
    twilio = make_receiver()
    is_json = {"content_type": "application/json"}
    table: list[tuple[str, bytes, dict[str, str]]] = [
        (JSON_URL, b'{"type":"test","n":2}', is_json),
        (JSON_URL.partition("?")[0], JSON_BODY, is_json),
        (JSON_URL, JSON_BODY, {}),
        (f"{BASE}/status", b"A=%ff", {}),
        (f"{BASE}/status", b"A=\xff", {}),
        (f"{BASE}/status", b"&".join([b"A=1"] * 1001), {}),
    ]
    accepted = [
        (url, body)
        for url, body, headers in table
        if is_verified(twilio, post(url, sign(url), body, **headers))
    ]
    assert not accepted


def test_every_configured_token_verifies_webhooks(make_receiver):
    second, third = "1" * 32, "2" * 32
    table: list[tuple[str, list[str], bool]] = [
        (TOKEN, [], True),
        (TOKEN, [second, third], True),
        (second, [TOKEN], True),
        (second, [third, TOKEN], True),
        (second, [third], False),
        (second, [], False),
    ]
    failures = [
        (current, others)
        for current, others, expected in table
        if is_verified(
            make_receiver(auth_token=current, webhook_auth_tokens=others), signed(REPORT)
        )
        is not expected
    ]
    assert not failures


def test_webhooks_are_enabled_by_a_secret(make_receiver):
    api_key = {"auth_token": None, "api_key_sid": "SK" + "c" * 32, "api_key_secret": "s"}

    assert make_receiver().webhooks == {"inbound", "status"}
    assert make_receiver(**api_key).webhooks == set()
    assert make_receiver(**api_key, webhook_auth_tokens=[TOKEN]).webhooks == {"inbound", "status"}


# Status reports


def test_every_status_becomes_a_receipt(make_receiver):
    twilio = make_receiver()
    table = {
        "accepted": ["queued"],
        "scheduled": ["queued"],
        "queued": ["queued"],
        "sending": ["queued"],
        "sent": ["sent"],
        "partially_delivered": ["sent"],
        "delivered": ["delivered"],
        "read": ["delivered", "opened"],
        "undelivered": ["bounced"],
        "failed": ["failed"],
        "canceled": ["failed"],
        "received": ["unrecognised"],
        "teleported": ["unrecognised"],
    }
    failures = []
    for status, kinds in table.items():
        fields = {"MessageSid": SID, "MessageStatus": status, "To": "+14155552671", "New": "field"}
        received = twilio.receive(signed(fields))
        assert received.response == WebhookResponse(204)
        if [receipt.kind for receipt in received.items] != kinds:
            failures.append((status, received.items))
        assert received.items[-1].key == f"{SID}:{status}"
        for receipt in received.items:
            assert (receipt.provider_message_id, receipt.recipient) == (SID, "+14155552671")
            assert (receipt.message_uid, receipt.code, receipt.suppress) == (None, None, False)
            assert receipt.payload == fields
            is_unrecognised = receipt.kind == "unrecognised"
            assert receipt.detail == (f"status {status}" if is_unrecognised else None)
    assert not failures


def test_delivery_implied_by_reading_has_the_key_of_the_delivery_report(make_receiver):
    twilio = make_receiver()
    read = twilio.receive(signed({"MessageSid": SID, "MessageStatus": "read"})).items
    [delivered] = twilio.receive(signed({"MessageSid": SID, "MessageStatus": "delivered"})).items

    assert [receipt.key for receipt in read] == [delivered.key, f"{SID}:read"]


def test_report_contains_the_uid_of_the_message(make_receiver):
    request = signed(REPORT, url=f"{BASE}/status?message_uid=018f-uid-1")

    [receipt] = make_receiver().receive(request).items

    assert receipt.message_uid == "018f-uid-1"


def test_error_code_of_a_report_is_explained(make_receiver):
    twilio = make_receiver()
    table: list[tuple[dict[str, str], str | None, str | None, bool | str]] = [
        ({"ErrorCode": "30003"}, "30003", "the phone is switched off or unreachable", False),
        ({"ErrorCode": "30005"}, "30005", "the recipient's number does not exist", True),
        ({"ErrorCode": "21610"}, "21610", "the recipient has opted out (STOP)", "opt_out"),
        ({"ErrorCode": "30005", "ErrorMessage": "No such"}, "30005", "No such", True),
        ({"ErrorCode": "30005", "ChannelStatusMessage": "gone"}, "30005", "gone", True),
        ({"ErrorCode": "39999"}, "39999", None, False),
        ({"ErrorCode": "", "ErrorMessage": ""}, None, None, False),
        ({"ErrorMessage": "no +14155552671"}, None, "no +***", False),
    ]
    common = {"MessageSid": SID, "MessageStatus": "undelivered", "To": "+14155552671"}
    failures = []
    for fields, code, detail, suppress in table:
        [receipt] = twilio.receive(signed({**common, **fields})).items
        found = (receipt.kind, receipt.code, receipt.detail, receipt.suppress)
        if found != ("bounced", code, detail, suppress):
            failures.append((fields, found))
    assert not failures


def test_report_with_the_older_field_names_is_read(make_receiver):
    [receipt] = make_receiver().receive(signed({"SmsSid": SID, "SmsStatus": "sent"})).items

    assert (receipt.key, receipt.kind) == (f"{SID}:sent", "sent")


def test_report_in_json_is_read(make_receiver):
    body = b'{"MessageSid": "SM1", "MessageStatus": "undelivered", "ErrorCode": 30005, "To": null}'
    url = f"{BASE}/status?bodySHA256={hashlib.sha256(body).hexdigest()}"

    [receipt] = (
        make_receiver().receive(post(url, sign(url), body, content_type="application/json")).items
    )

    assert (receipt.key, receipt.code, receipt.suppress) == ("SM1:undelivered", "30005", True)
    assert receipt.recipient is None


def test_signed_webhook_without_its_fields_is_malformed(make_receiver):
    twilio = make_receiver()
    requests = [
        signed({}),
        signed({"MessageSid": SID}),
        signed({"MessageStatus": "sent"}),
        signed({"MessageSid": "", "MessageStatus": "sent"}),
        signed({"MessageSid": SID, "From": "+14155552671"}, kind="inbound"),
        signed({"MessageSid": SID, "To": "+14155552671"}, kind="inbound"),
        signed({"From": "+14155552671", "To": "+15005550006"}, kind="inbound"),
    ]
    for body in (b"", b"{", b"[]", b"[" * 9999, b"\xff", b'{"MessageSid": null}'):
        url = f"{BASE}/status?bodySHA256={hashlib.sha256(body).hexdigest().upper()}"
        requests.append(post(url, sign(url), body, content_type="application/json"))

    accepted = [
        request
        for request in requests
        if not isinstance(outcome(twilio, request), MalformedWebhook)
    ]

    assert not accepted


# Inbound messages


def test_inbound_sms_is_read(make_receiver):
    received = make_receiver().receive(signed(SMS, kind="inbound"))

    assert received.response == WebhookResponse(200, b"<Response/>", "text/xml")
    [message] = received.items
    assert (message.key, message.provider_message_id) == (SMS["MessageSid"], SMS["MessageSid"])
    assert (message.channel, message.sender, message.recipient, message.body) == (
        "sms",
        "+14155552671",
        "+15005550006",
        "Привет 👋 & =",
    )
    assert (message.attachments, message.keyword, message.in_reply_to) == ((), None, ())
    assert message.metadata == {
        "AccountSid": "AC" + "a" * 32,
        "ApiVersion": "2010-04-01",
        "FromCountry": "US",
        "NumMedia": "0",
        "NumSegments": "1",
        "SmsStatus": "received",
    }


def test_files_of_an_inbound_message_are_urls(make_receiver):
    files = [("https://api.twilio.com/m/1", "image/jpeg"), ("https://api.twilio.com/m/2", "x/y")]
    fields = {f"MediaUrl{number}": url for number, (url, _) in enumerate(files)}
    fields |= {f"MediaContentType{number}": kind for number, (_, kind) in enumerate(files)}
    fields |= {"MediaUrl2": "https://api.twilio.com/m/3", "NumMedia": "3"}

    [message] = make_receiver().receive(signed({**SMS, **fields}, kind="inbound")).items

    assert message.channel == "mms"
    assert message.attachments == (
        Attachment("media-0.jpg", "image/jpeg", url="https://api.twilio.com/m/1"),
        Attachment("media-1", "x/y", url="https://api.twilio.com/m/2"),
        Attachment("media-2.bin", "application/octet-stream", url="https://api.twilio.com/m/3"),
    )
    assert not any(name.startswith("Media") for name in message.metadata)


def test_whatsapp_message_has_its_author_and_the_message_it_replies_to(make_receiver):
    fields = {
        "From": "whatsapp:+14155552671",
        "To": "whatsapp:+15005550006",
        "ProfileName": "Ann",
        "WaId": "14155552671",
        "OriginalRepliedMessageSid": SID,
    }

    [message] = make_receiver().receive(signed({**SMS, **fields}, kind="inbound")).items

    assert (message.channel, message.sender) == ("sms", "whatsapp:+14155552671")
    assert message.in_reply_to == (SID,)
    assert message.metadata["ProfileName"] == "Ann"


def test_opt_out_type_becomes_a_keyword(make_receiver):
    twilio = make_receiver()
    keywords = {}
    for opt_out_type in ("STOP", "START", "HELP", "", "WHAT"):
        request = signed({**SMS, "OptOutType": opt_out_type}, kind="inbound")
        received = twilio.receive(request)
        assert isinstance(received, Received)
        keywords[opt_out_type] = received.items[0].keyword

    assert keywords == {"STOP": "stop", "START": "start", "HELP": "help", "": None, "WHAT": None}
