"""Send SMS and fetch receipts through M2M of MTS Communicator, over SOAP 1.2.

Wire format, including the order of the elements:
https://api.mcommunicator.ru/m2m/m2m_api.asmx?WSDL. A fault is identified by the name in its detail
(`<description>MSID_FORMAT_ERROR</description>`).
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from xml.etree import ElementTree as ET
from xml.etree.ElementTree import Element, SubElement

from connectors.base import (
    Accepted,
    OutboundMessage,
    Receipt,
    ReceiptKind,
    Rejected,
    SendError,
    Unavailable,
)
from connectors.m2m.errors import FAULT_BY_NAME
from connectors.m2m.formats import e164, parse_timestamp
from connectors.m2m.settings import M2mSettings
from connectors.toolkit.http import HttpClient, Response, excerpt, response_error

NAMESPACE = "http://mcommunicator.ru/M2M"
ENVELOPE = "http://www.w3.org/2003/05/soap-envelope"
MAX_TEXT_CHARACTERS = 1000

_MESSAGE_ID = re.compile(r"[1-9][0-9]{0,18}")
_FAULT_NAME = re.compile(r"[A-Z][A-Z0-9_]{2,63}")

# The statuses that SOAP 1.1 and 1.2 define for faults say nothing about a fault with an unknown
# name. Any other status comes from a proxy in front of MTS and classifies the fault.
_FAULT_STATUSES = frozenset({200, 400, 500})

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

# XML 1.0, section 2.2: these characters are not allowed, not even escaped.
_NOT_IN_XML = re.compile(r"[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def send(
    http: HttpClient, settings: M2mSettings, number: str, message: OutboundMessage
) -> Accepted:
    """Send a message to a number in the form 7XXXXXXXXXX.

    Raises:
        SendError: MTS did not accept the message.
    """
    text, sender = message.body, message.sender or settings.sender or ""
    if len(text) > MAX_TEXT_CHARACTERS:
        raise Rejected(
            "text_too_long",
            f"body: {len(text)} characters. The maximum is {MAX_TEXT_CHARACTERS}.",
        )
    if _NOT_IN_XML.search(text + sender):
        raise Rejected(
            "text_not_allowed",
            "body, sender: a character is not allowed in XML. Remove control characters.",
        )

    method = Element("SendMessage")
    SubElement(method, "msid").text = number
    SubElement(method, "message").text = text
    if sender:
        SubElement(method, "naming").text = sender.removeprefix("+")
    response = _call(http, settings, method)

    envelope = _parse(response, (*settings.secrets, number, text))
    # A 2xx response without an id is a success too: sending again could duplicate the message.
    message_id = "" if envelope is None else _text(envelope, "SendMessageResult")
    is_valid = _MESSAGE_ID.fullmatch(message_id)
    return Accepted(message_id if is_valid else None, str(response.status))


def fetch_receipts(
    http: HttpClient, settings: M2mSettings, ids: Sequence[str]
) -> Iterator[Receipt]:
    """Fetch the receipts of the messages with these ids, in one request if MTS knows all of them.

    Raises:
        SendError: MTS did not answer the request.
    """
    # Ids of the other service are not numbers, and one of them would make the request fail.
    numbers = [message_id for message_id in ids if _MESSAGE_ID.fullmatch(message_id)]
    if not numbers:
        return
    method = Element("GetMessagesStatus")
    message_ids = SubElement(method, "messageIDs")
    for number in numbers:
        SubElement(message_ids, "long").text = number
    response = _call(http, settings, method)
    try:
        envelope = _parse(response, settings.secrets)
    except Rejected as rejected:
        if rejected.code != "WRONG_ID":
            raise
        # One unknown id fails the whole request: split it until that id is alone.
        if len(numbers) > 1:
            middle = len(numbers) // 2
            yield from fetch_receipts(http, settings, numbers[:middle])
            yield from fetch_receipts(http, settings, numbers[middle:])
        return
    if envelope is None:
        raise Unavailable("invalid_response", "the response is not SOAP")
    for entry in envelope.iterfind(".//{*}MessageStatusWithID"):
        for delivery in entry.iterfind(".//{*}DeliveryInfo"):
            yield _receipt(_text(entry, "MessageID"), delivery)


def _receipt(message_id: str, delivery: Element) -> Receipt:
    status, date = _text(delivery, "DeliveryStatus"), _text(delivery, "DeliveryDate")
    fields = {child.tag.rpartition("}")[2]: child.text for child in delivery}
    return Receipt(
        key=f"{message_id}:{status}:{date}",
        kind=KIND_OF_STATUS.get(status, "unrecognised"),
        provider_message_id=message_id,
        recipient=e164(_text(delivery, "Msid")) or None,
        occurred_at=parse_timestamp(date),
        code=status,
        payload={"MessageID": message_id, **fields},
    )


def _call(http: HttpClient, settings: M2mSettings, method: Element) -> Response:
    """Call a method, with the credentials as its last elements."""
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
    return http.request("POST", settings.service_url, headers=headers, body=body)


def _parse(response: Response, hide: Sequence[str]) -> Element | None:
    """Return the envelope of a success, or None if its body is not XML.

    Raises:
        SendError: The response contains a fault, or its status is not 2xx.
    """
    envelope = _parse_xml(response)
    # In any namespace: MTS answers in SOAP 1.1 if it cannot tell the version of the request.
    fault = None if envelope is None else envelope.find(".//{*}Fault")
    if fault is not None:
        raise _classify(response, fault, hide)
    if not response.is_success:
        raise response_error(response, hide)
    return envelope


def _classify(response: Response, fault: Element, hide: Sequence[str]) -> SendError:
    """Return the exception for a fault."""
    name = _text(fault, "description") or _text(fault, "Text") or _text(fault, "faultstring")
    detail = excerpt(f"{_text(fault, 'code')} {name}", hide)
    if known := FAULT_BY_NAME.get(name):
        return known.error(detail)
    if response.status not in _FAULT_STATUSES:
        return response_error(response, hide, detail)
    return Rejected(name if _FAULT_NAME.fullmatch(name) else "soap_fault", detail)


def _parse_xml(response: Response) -> Element | None:
    """Return the root element of the body, or None if it is not XML or has a document type.

    SOAP does not allow document types (SOAP 1.2 part 1, section 5), and one could define entities.
    """
    # Text instead of bytes, so that the parser ignores an encoding declaration such as UTF-7.
    try:
        text = response.body.decode("utf-8-sig")
        if response.truncated or "<!DOCTYPE" in text:
            return None
        return ET.fromstring(text)  # noqa: S314 - has no document type
    except (UnicodeError, ET.ParseError):
        return None


def _text(element: Element, name: str) -> str:
    """Return the text of the first descendant with this local name, or an empty string."""
    return (element.findtext(f".//{{*}}{name}") or "").strip()
