"""The service M2M of MTS Communicator, over SOAP 1.2.

Methods, their elements and the order of these are those of the service's own description,
https://api.mcommunicator.ru/m2m/m2m_api.asmx?WSDL. A fault is known by the name in its detail
(`<description>MSID_FORMAT_ERROR</description>`): the HTTP status is 500 for all of them, and few
of their numbers are published.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from datetime import timedelta
from xml.etree import ElementTree as ET
from xml.etree.ElementTree import Element, SubElement

from connectors.base import (
    Accepted,
    ErrorCode,
    Misconfigured,
    OutboundMessage,
    Receipt,
    ReceiptKind,
    Rejected,
    SendError,
    Unavailable,
)
from connectors.m2m.replies import e164, moment
from connectors.m2m.settings import M2mSettings
from connectors.toolkit.http import HttpClient
from connectors.toolkit.http.replies import Response, excerpt, response_error

NAMESPACE = "http://mcommunicator.ru/M2M"
ENVELOPE = "http://www.w3.org/2003/05/soap-envelope"
MAX_TEXT_CHARACTERS = 1000

# No wait is documented for a quota. It is refilled by a contract or a new month, not in minutes.
QUOTA_WAIT = timedelta(hours=1)

FAULTS = (
    ErrorCode("SYSTEM_FAILURE", Unavailable, "a temporary problem at MTS"),
    ErrorCode("MESSAGE_HANDLING_ERROR", Unavailable, "MTS failed to process the message"),
    ErrorCode("TEST_LIMIT_EXCEEDED", Unavailable, "the quota of a trial is used up", QUOTA_WAIT),
    ErrorCode(
        "TRUSTED_LIMIT_EXCEEDED",
        Unavailable,
        "the quota for subscribers who were added without their consent is used up",
        QUOTA_WAIT,
    ),
    ErrorCode("INCORRECT_PASSWORD", Misconfigured, "wrong login, password or API key (103)"),
    ErrorCode("IP_NOT_ALLOWED", Misconfigured, "our IP address is not on the account's list"),
    ErrorCode("ACCOUNT_IS_BLOCKED", Misconfigured, "the account is blocked"),
    ErrorCode("OPERATION_NOT_ALLOWED", Misconfigured, "the account may not do this"),
    ErrorCode("MSID_FORMAT_ERROR", Rejected, "not a number of the form 7XXXXXXXXXX (506)"),
    ErrorCode("MESSAGE_FORMAT_ERROR", Rejected, "the message is malformed"),
    ErrorCode("MAX_LENGTH_EXCEEDED", Rejected, "more than 1000 characters"),
    ErrorCode("EMPTY_MESSAGE_NOT_ALLOWED", Rejected, "a message without a text"),
    ErrorCode("NO_SUCH_SUBSCRIBER", Rejected, "the account does not have this subscriber"),
    ErrorCode("MSID_IS_IN_BLACKLIST", Rejected, "the number is blacklisted", suppress="opt_out"),
    ErrorCode(
        "MSIDS_ARE_IN_BLACKLIST", Rejected, "all numbers are blacklisted", suppress="opt_out"
    ),
    ErrorCode("WRONG_ID", Rejected, "an id that MTS does not know"),
    ErrorCode("TOO_MANY_PARAMETERS", Rejected, "more values than a call may have"),
    ErrorCode("OBJECT_ALREADY_EXISTS", Rejected, "a mailing list of this name exists"),
    ErrorCode("TIME_IS_IN_THE_PAST", Rejected, "the time to send at is over"),
)
_FAULT_OF_NAME = {fault.code: fault for fault in FAULTS}
_MESSAGE_ID = re.compile(r"[1-9][0-9]{0,18}")
_FAULT_NAME = re.compile(r"[A-Z][A-Z0-9_]{2,63}")

# What the status of the reply adds to a fault of an unknown name: nothing, where it is the one
# that SOAP 1.1 or 1.2 gives to faults. Any other is the word of whatever stands before MTS.
_STATUSES_OF_FAULTS = frozenset({200, 400, 500})

KIND_OF_STATUS: Mapping[str, ReceiptKind] = {
    "Pending": "queued",
    "Sending": "queued",
    "Sent": "sent",
    "NotSent": "failed",
    "Delivered": "delivered",
    "NotDelivered": "bounced",
    "TimedOut": "bounced",
    "Error": "failed",
}

# XML 1.0, 2.2: these cannot be written at all, not even escaped.
_NOT_IN_XML = re.compile(r"[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def send(
    http: HttpClient, settings: M2mSettings, number: str, message: OutboundMessage
) -> Accepted:
    """Send the text to `number`, 7XXXXXXXXXX. Raises a SendError."""
    text, sender = message.body, message.sender or settings.sender or ""
    if len(text) > MAX_TEXT_CHARACTERS:
        raise Rejected("text_too_long", f"{len(text)} of {MAX_TEXT_CHARACTERS} characters")
    if _NOT_IN_XML.search(text + sender):
        raise Rejected("text_not_allowed", "holds a character that XML cannot carry")

    method = Element("SendMessage")
    SubElement(method, "msid").text = number
    SubElement(method, "message").text = text
    if sender:
        SubElement(method, "naming").text = sender.removeprefix("+")
    response = _call(http, settings, method)

    reply = _outcome(response, (*settings.secrets, number, text))
    # A success without a legible id is one all the same: resending would double the message.
    message_id = "" if reply is None else _text(reply, "SendMessageResult")
    legible = _MESSAGE_ID.fullmatch(message_id)
    return Accepted(message_id if legible else None, str(response.status))


def statuses(http: HttpClient, settings: M2mSettings, ids: Sequence[str]) -> Iterator[Receipt]:
    """Ask what became of the messages of these ids, in one call. Raises a SendError."""
    # Those of the other service may be of another form, and one such value would fail the call.
    longs = [one for one in ids if _MESSAGE_ID.fullmatch(one)]
    if not longs:
        return
    method = Element("GetMessagesStatus")
    asked = SubElement(method, "messageIDs")
    for one in longs:
        SubElement(asked, "long").text = one
    response = _call(http, settings, method)
    try:
        reply = _outcome(response, settings.secrets)
    except Rejected as refused:
        if refused.code != "WRONG_ID":
            raise
        # One unknown id may not hide what became of the others: halve until it is alone.
        if len(longs) > 1:
            middle = len(longs) // 2
            yield from statuses(http, settings, longs[:middle])
            yield from statuses(http, settings, longs[middle:])
        return
    if reply is None:
        raise Unavailable("illegible_reply", "no SOAP in a reply of success")
    for entry in reply.iterfind(".//{*}MessageStatusWithID"):
        for delivery in entry.iterfind(".//{*}DeliveryInfo"):
            yield _receipt(_text(entry, "MessageID"), delivery)


def _receipt(message_id: str, delivery: Element) -> Receipt:
    status, date = _text(delivery, "DeliveryStatus"), _text(delivery, "DeliveryDate")
    said = {child.tag.rpartition("}")[2]: child.text for child in delivery}
    return Receipt(
        key=f"{message_id}:{status}:{date}",
        kind=KIND_OF_STATUS.get(status, "unrecognised"),
        provider_message_id=message_id,
        recipient=e164(_text(delivery, "Msid")) or None,
        occurred_at=moment(date),
        code=status,
        payload={"MessageID": message_id, **said},
    )


def _call(http: HttpClient, settings: M2mSettings, method: Element) -> Response:
    """Make the call, with its credentials last, as the order of its elements has it."""
    headers = {"Content-Type": "application/soap+xml; charset=utf-8"}
    if settings.api_key:
        headers["Authorization"] = f"Bearer {settings.api_key.get_secret_value()}"
    else:
        SubElement(method, "login").text = settings.login
        SubElement(method, "password").text = settings.password_md5
    method.set("xmlns", NAMESPACE)
    envelope = Element("soap12:Envelope", {"xmlns:soap12": ENVELOPE})
    SubElement(envelope, "soap12:Body").append(method)
    body = ET.tostring(envelope, encoding="utf-8", xml_declaration=True)
    return http.request("POST", settings.address, headers=headers, body=body)


def _outcome(response: Response, hide: Sequence[str]) -> Element | None:
    """The reply of a success; None where its body is illegible. Raises what a fault, or a status
    without one, stands for."""
    reply = _parsed(response)
    # In any namespace: a request that was not read far enough is answered in SOAP 1.1.
    fault = None if reply is None else reply.find(".//{*}Fault")
    if fault is not None:
        raise _refusal(response, fault, hide)
    if not 200 <= response.status < 300:
        raise response_error(response, hide)
    return reply


def _refusal(response: Response, fault: Element, hide: Sequence[str]) -> SendError:
    name = _text(fault, "description") or _text(fault, "Text") or _text(fault, "faultstring")
    detail = excerpt(f"{_text(fault, 'code')} {name}", hide)
    if known := _FAULT_OF_NAME.get(name):
        return known.error(detail)
    if response.status not in _STATUSES_OF_FAULTS:
        return response_error(response, hide, detail)
    return Rejected(name if _FAULT_NAME.fullmatch(name) else "soap_fault", detail)


def _parsed(response: Response) -> Element | None:
    """The root of a reply in XML; None where it is none, or declares a document type: that could
    hold entities, which SOAP has no use for (SOAP 1.2 part 1, 5)."""
    # Given as text, it is not decoded anew, as a declaration of UTF-7 or the like would have it.
    try:
        text = response.body.decode("utf-8-sig")
        if response.truncated or "<!DOCTYPE" in text:
            return None
        return ET.fromstring(text)  # noqa: S314 - nothing with entities gets this far
    except (UnicodeError, ET.ParseError):
        return None


def _text(element: Element, name: str) -> str:
    """The text of the first element of that name below this one, in whatever namespace."""
    return (element.findtext(f".//{{*}}{name}") or "").strip()
