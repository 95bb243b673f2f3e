"""The M2M service of MTS Communicator at `/m2m/m2m_api.asmx`.

It has SendMessage and GetMessagesStatus over SOAP 1.2, as described in
https://api.mcommunicator.ru/m2m/m2m_api.asmx?WSDL. Namespaces, element names and their order,
credentials, number and text are checked; errors are faults with the service's own names.
"""

import hashlib
import hmac
import re
from collections.abc import Mapping
from xml.etree import ElementTree as ET
from xml.etree.ElementTree import Element, SubElement

from sandbox.provider import Delivery, RefusedError, Request, Response, ResponseError
from sandbox.received import truncate
from tests.doubles.m2m_messages import (
    API_KEY,
    BLACKLISTED,
    LOGIN,
    MAX_TEXT_CHARACTERS,
    PASSWORD,
    Messages,
)

SOAP = "http://www.w3.org/2003/05/soap-envelope"
M2M = "http://mcommunicator.ru/M2M"
XSI = "http://www.w3.org/2001/XMLSchema-instance"
CONTENT_TYPE = "application/soap+xml; charset=utf-8"

# Elements must be in this order; all are optional in the WSDL.
ELEMENTS = {
    "SendMessage": ["msid", "message", "naming", "login", "password"],
    "GetMessagesStatus": ["messageIDs", "login", "password"],
}
NUMBERS = {"INCORRECT_PASSWORD": "103", "MSID_FORMAT_ERROR": "506"}


def read_soap(request: Request, messages: Messages) -> Delivery | Response:
    """Return the message of a SendMessage request, or the response to GetMessagesStatus.

    Raises:
        ResponseError: With a fault.
    """
    if request.method != "POST":
        raise RefusedError(405, "method not allowed. Use POST.", {"Allow": "POST"})
    method, fields = _call(request)
    _check_identity(request, fields)
    if method == "GetMessagesStatus":
        return _statuses(fields, messages)
    return _message(request, fields, messages)


def _call(request: Request) -> tuple[str, Mapping[str, Element]]:
    """Return the name of the method and its elements by name."""
    media_type, _, parameters = request.headers.get("content-type", "").lower().partition(";")
    if media_type != "application/soap+xml" or "charset=utf-8" not in parameters:
        raise RefusedError(415, "content-type: expected application/soap+xml; charset=utf-8")
    try:
        envelope = ET.fromstring(request.body)
    except ET.ParseError:
        raise _unreadable("not well-formed XML") from None
    body = list(envelope)
    if envelope.tag != f"{{{SOAP}}}Envelope" or [part.tag for part in body] != [f"{{{SOAP}}}Body"]:
        raise _unreadable("not a SOAP 1.2 envelope with a body")
    calls = list(body[0])
    method = _name(calls[0]) if len(calls) == 1 else ""
    if method not in ELEMENTS:
        raise _unreadable("the body is not a single method of this service")
    given = [_name(child) for child in calls[0]]
    if given != [name for name in ELEMENTS[method] if name in given]:
        raise _fault("MESSAGE_FORMAT_ERROR")
    return method, dict(zip(given, calls[0], strict=True))


def _check_identity(request: Request, fields: Mapping[str, Element]) -> None:
    authorization = request.headers.get("authorization")
    md5 = hashlib.md5(PASSWORD.encode(), usedforsecurity=False).hexdigest()
    pair = (_text(fields, "login"), _text(fields, "password"))
    is_authorized = (
        pair == (LOGIN, md5)
        if authorization is None
        else hmac.compare_digest(authorization.encode(), f"Bearer {API_KEY}".encode())
        and not {"login", "password"} & set(fields)
    )
    if not is_authorized:
        raise _fault("INCORRECT_PASSWORD")


def _message(request: Request, fields: Mapping[str, Element], messages: Messages) -> Delivery:
    msid, text, naming = (_text(fields, name) for name in ("msid", "message", "naming"))
    if not re.fullmatch("7[0-9]{10}", msid):
        raise _fault("MSID_FORMAT_ERROR")
    if not text:
        raise _fault("EMPTY_MESSAGE_NOT_ALLOWED")
    if len(text) > MAX_TEXT_CHARACTERS:
        raise _fault("MAX_LENGTH_EXCEEDED")
    if msid == BLACKLISTED:
        raise _fault("MSID_IS_IN_BLACKLIST")
    message_id = messages.add(msid, naming)
    result = Element(f"{{{M2M}}}SendMessageResponse")
    SubElement(result, f"{{{M2M}}}SendMessageResult").text = str(message_id)
    return Delivery(
        to=f"+{msid}",
        key=None,
        details={
            "to": f"+{msid}",
            "content": truncate(text),
            "naming": naming,
            "message_id": str(message_id),
            "headers": request.recorded_headers(),
        },
        response=_soap_response(200, result),
    )


def _statuses(fields: Mapping[str, Element], messages: Messages) -> Response:
    items = list(fields.get("messageIDs", ()))
    if any(
        one.tag != f"{{{M2M}}}long" or not re.fullmatch("-?[0-9]{1,19}", one.text or "")
        for one in items
    ):
        raise _unreadable("messageIDs has an item that is not a long")
    ids = [int(one.text or "") for one in items]
    if not ids or not all(messages.has(one) for one in ids):
        raise _fault("WRONG_ID")
    response = Element(f"{{{M2M}}}GetMessagesStatusResponse")
    result = SubElement(response, f"{{{M2M}}}GetMessagesStatusResult")
    for one in ids:
        sent = messages.advance(one)
        status, since = sent.history[-1]
        entry = SubElement(result, f"{{{M2M}}}MessageStatusWithID")
        SubElement(entry, f"{{{M2M}}}MessageID").text = str(one)
        delivery = SubElement(SubElement(entry, f"{{{M2M}}}Delivery"), f"{{{M2M}}}DeliveryInfo")
        SubElement(delivery, f"{{{M2M}}}Msid").text = sent.msid
        SubElement(delivery, f"{{{M2M}}}DeliveryStatus").text = status
        SubElement(delivery, f"{{{M2M}}}DeliveryDate").text = since.isoformat()
        SubElement(delivery, f"{{{M2M}}}UserDeliveryDate", {f"{{{XSI}}}nil": "true"})
        SubElement(delivery, f"{{{M2M}}}PartCount").text = "1"
    return _soap_response(200, response)


def _fault(name: str) -> ResponseError:
    """Return a fault of the service; its number is added where it is known."""
    detail = Element(f"{{{SOAP}}}Detail")
    if name in NUMBERS:
        SubElement(detail, f"{{{M2M}/}}code").text = NUMBERS[name]
    SubElement(detail, f"{{{M2M}/}}description").text = name
    return ResponseError(_fault_response(500, name, detail))


def _unreadable(why: str) -> ResponseError:
    """Return the fault of the web server for a request that it cannot parse."""
    return ResponseError(_fault_response(400, f"Server was unable to read request. ---> {why}"))


def _fault_response(status: int, reason: str, detail: Element | None = None) -> Response:
    fault = Element(f"{{{SOAP}}}Fault")
    SubElement(SubElement(fault, f"{{{SOAP}}}Code"), f"{{{SOAP}}}Value").text = "soap:Sender"
    text = SubElement(SubElement(fault, f"{{{SOAP}}}Reason"), f"{{{SOAP}}}Text")
    text.text = reason
    text.set("{http://www.w3.org/XML/1998/namespace}lang", "en")
    if detail is not None:
        fault.append(detail)
    return _soap_response(status, fault)


def _soap_response(status: int, content: Element) -> Response:
    envelope = Element(f"{{{SOAP}}}Envelope")
    SubElement(envelope, f"{{{SOAP}}}Body").append(content)
    ET.register_namespace("soap", SOAP)
    return Response(status, ET.tostring(envelope, "utf-8", xml_declaration=True), CONTENT_TYPE)


def _name(element: Element) -> str:
    """Return an element's name, with the namespace unless it is the service's own."""
    namespace, _, name = element.tag.rpartition("}")
    return name if namespace == "{" + M2M else f"{namespace}}}{name}"


def _text(fields: Mapping[str, Element], name: str) -> str:
    return (fields[name].text or "") if name in fields else ""
