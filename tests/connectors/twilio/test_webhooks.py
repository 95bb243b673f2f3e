import base64
import hashlib
import hmac

import pytest

from connectors.base import Attachment, MalformedWebhook, WebhookResponse
from tests.connectors.twilio.calls import BASE, REPORT, SID, SMS, TOKEN, call, signed


@pytest.mark.parametrize(
    ("settings", "kinds"),
    [
        ({}, {"inbound", "status"}),
        ({"auth_token": None, "api_key_sid": "SK" + "c" * 32, "api_key_secret": "s"}, set()),
        (
            {
                "auth_token": None,
                "api_key_sid": "SK" + "c" * 32,
                "api_key_secret": "s",
                "webhook_auth_tokens": [TOKEN],
            },
            {"inbound", "status"},
        ),
    ],
)
def test_without_a_secret_there_are_no_webhooks(make_receiver, settings, kinds):
    assert make_receiver(**settings).webhooks == kinds


@pytest.mark.parametrize(
    ("status", "kinds"),
    [
        ("accepted", ["queued"]),
        ("scheduled", ["queued"]),
        ("queued", ["queued"]),
        ("sending", ["queued"]),
        ("sent", ["sent"]),
        ("partially_delivered", ["sent"]),
        ("delivered", ["delivered"]),
        ("read", ["delivered", "opened"]),
        ("undelivered", ["bounced"]),
        ("failed", ["failed"]),
        ("canceled", ["failed"]),
        ("received", ["unrecognised"]),
        ("teleported", ["unrecognised"]),
    ],
)
def test_a_status_becomes_a_receipt(receive, status, kinds):
    fields = {"MessageSid": SID, "MessageStatus": status, "To": "+14155552671", "New": "field"}

    received = receive(signed(fields))

    assert [receipt.kind for receipt in received.items] == kinds
    assert received.items[-1].key == f"{SID}:{status}"
    assert received.response == WebhookResponse(204)
    for receipt in received.items:
        assert (receipt.provider_message_id, receipt.recipient) == (SID, "+14155552671")
        assert (receipt.message_uid, receipt.code, receipt.suppress) == (None, None, False)
        assert receipt.payload == fields


def test_the_delivery_that_reading_implies_is_the_same_as_the_reported_one(receive):
    read = receive(signed({"MessageSid": SID, "MessageStatus": "read"})).items
    [delivered] = receive(signed({"MessageSid": SID, "MessageStatus": "delivered"})).items

    assert [receipt.key for receipt in read] == [delivered.key, f"{SID}:read"]


def test_our_own_id_comes_back_in_the_address(receive):
    [receipt] = receive(signed(REPORT, url=f"{BASE}/status?message_uid=018f-uid-1")).items

    assert receipt.message_uid == "018f-uid-1"


@pytest.mark.parametrize(
    ("extra", "code", "detail", "suppress"),
    [
        ({"ErrorCode": "30003"}, "30003", "the phone is switched off or unreachable", False),
        ({"ErrorCode": "30005"}, "30005", "the recipient's number does not exist", True),
        ({"ErrorCode": "21610"}, "21610", "the recipient has opted out (STOP)", "opt_out"),
        ({"ErrorCode": "30005", "ErrorMessage": "No such"}, "30005", "No such", True),
        ({"ErrorCode": "30005", "ChannelStatusMessage": "gone"}, "30005", "gone", True),
        ({"ErrorCode": "39999"}, "39999", None, False),
        ({"ErrorCode": "", "ErrorMessage": ""}, None, None, False),
        ({"ErrorMessage": "no +14155552671"}, None, "no +***", False),
    ],
)
def test_an_error_code_is_told_with_its_meaning(receive, extra, code, detail, suppress):
    fields = {"MessageSid": SID, "MessageStatus": "undelivered", "To": "+14155552671", **extra}

    [receipt] = receive(signed(fields)).items

    assert (receipt.kind, receipt.code) == ("bounced", code)
    assert (receipt.detail, receipt.suppress) == (detail, suppress)


def test_an_older_report_names_the_sms_only(receive):
    [receipt] = receive(signed({"SmsSid": SID, "SmsStatus": "sent"})).items

    assert (receipt.key, receipt.kind) == (f"{SID}:sent", "sent")


def test_a_message_comes_in(receive):
    received = receive(signed(SMS, kind="inbound"))

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


def test_files_come_in_by_their_addresses(receive):
    files = [("https://api.twilio.com/m/1", "image/jpeg"), ("https://api.twilio.com/m/2", "x/y")]
    fields = {f"MediaUrl{number}": url for number, (url, _) in enumerate(files)}
    fields |= {f"MediaContentType{number}": kind for number, (_, kind) in enumerate(files)}
    fields |= {"MediaUrl2": "https://api.twilio.com/m/3", "NumMedia": "3"}

    [message] = receive(signed({**SMS, **fields}, kind="inbound")).items

    assert message.channel == "mms"
    assert message.attachments == (
        Attachment("media-0.jpg", "image/jpeg", url="https://api.twilio.com/m/1"),
        Attachment("media-1", "x/y", url="https://api.twilio.com/m/2"),
        Attachment("media-2.bin", "application/octet-stream", url="https://api.twilio.com/m/3"),
    )
    assert not any(name.startswith("Media") for name in message.metadata)


def test_a_whatsapp_message_tells_who_wrote_it_and_what_it_answers(receive):
    extra = {
        "From": "whatsapp:+14155552671",
        "To": "whatsapp:+15005550006",
        "ProfileName": "Ann",
        "WaId": "14155552671",
        "OriginalRepliedMessageSid": SID,
    }

    [message] = receive(signed({**SMS, **extra}, kind="inbound")).items

    assert (message.channel, message.sender) == ("sms", "whatsapp:+14155552671")
    assert message.in_reply_to == (SID,)
    assert message.metadata["ProfileName"] == "Ann"


@pytest.mark.parametrize(
    ("opted", "keyword"),
    [("STOP", "stop"), ("START", "start"), ("HELP", "help"), ("", None), ("WHAT", None)],
)
def test_what_twilio_takes_for_a_keyword_is_one(receive, opted, keyword):
    [message] = receive(signed({**SMS, "OptOutType": opted}, kind="inbound")).items

    assert message.keyword == keyword


@pytest.mark.parametrize(
    ("kind", "fields"),
    [
        ("status", {}),
        ("status", {"MessageSid": SID}),
        ("status", {"MessageStatus": "sent"}),
        ("status", {"MessageSid": "", "MessageStatus": "sent"}),
        ("inbound", {"MessageSid": SID, "From": "+14155552671"}),
        ("inbound", {"MessageSid": SID, "To": "+14155552671"}),
        ("inbound", {"From": "+14155552671", "To": "+15005550006"}),
    ],
)
def test_a_signed_call_that_says_nothing_is_malformed(receive, kind, fields):
    with pytest.raises(MalformedWebhook):
        receive(signed(fields, kind=kind))


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"[" * 9999, b"\xff", b'{"MessageSid": null}'])
def test_a_signed_body_that_cannot_be_read_is_malformed(receive, body):
    url = f"{BASE}/status?bodySHA256={hashlib.sha256(body).hexdigest().upper()}"
    digest = hmac.digest(TOKEN.encode(), url.encode(), hashlib.sha1)
    signature = base64.b64encode(digest).decode()

    with pytest.raises(MalformedWebhook):
        receive(call(url, signature, body, content_type="application/json"))


def test_a_report_in_json_is_read_too(receive):
    body = b'{"MessageSid": "SM1", "MessageStatus": "undelivered", "ErrorCode": 30005, "To": null}'
    url = f"{BASE}/status?bodySHA256={hashlib.sha256(body).hexdigest()}"
    digest = hmac.digest(TOKEN.encode(), url.encode(), hashlib.sha1)
    signature = base64.b64encode(digest).decode()

    [receipt] = receive(call(url, signature, body, content_type="application/json")).items

    assert (receipt.key, receipt.code, receipt.suppress) == ("SM1:undelivered", "30005", True)
    assert receipt.recipient is None
