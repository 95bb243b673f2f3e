"""Read e-mail that reports on messages of ours: deliveries, bounces and complaints.

These are delivery reports (RFC 3464, RFC 6533), complaints in the Abuse Reporting Format (RFC 5965)
and the free-text bounces of other servers (`connectors.toolkit.mail.bounce_texts`). Anyone can
write such a mail, so a report that names no message of ours is ignored.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import replace
from itertools import islice

from connectors.base import Receipt, ReceiptKind
from connectors.toolkit.excerpts import excerpt
from connectors.toolkit.mail.bounce_texts import Bounce, read_bounce
from connectors.toolkit.mail.parser import MimePart, parse_headers
from connectors.toolkit.mail.parts import children, content, leaves
from connectors.toolkit.mail.smtp_replies import DEAD_ADDRESS
from connectors.toolkit.mail.text import header, parse_date, raw_headers

KIND_OF_ACTION: Mapping[str, ReceiptKind] = {
    "failed": "bounced",
    "delayed": "deferred",
    "delivered": "delivered",
    "relayed": "sent",
    "expanded": "sent",
}
KIND_OF_CLASS: Mapping[str, ReceiptKind] = {"2": "delivered", "4": "deferred", "5": "bounced"}
KIND_OF_FEEDBACK: Mapping[str, ReceiptKind] = {
    "abuse": "complained",
    "fraud": "complained",
    "virus": "complained",
    "opt-out": "unsubscribed",
}
MAX_RECIPIENTS = 1000
MAX_FIELDS = 50
MAX_FIELD = 1000

_UID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)
_MESSAGE_ID = re.compile(r"<[^<>\s]{1,253}>")
_CODE = re.compile(r"(?<![\d.])[245]\.\d{1,3}\.\d{1,3}(?!\.?\d)")
_TYPED_ADDRESS = re.compile(r"(?:[\w-]+[ \t]*;)?\s*<?([^\s<>;]{1,254}@[^\s<>;@]{1,254})>?")
_BLANK_LINE = re.compile(rb"\r?\n[ \t]*\r?\n")
_RETURNED_HEADERS = {"text/rfc822-headers", "message/rfc822-headers", "message/global-headers"}
_NOTHING: MimePart = parse_headers(b"")


def read_reports(mail: MimePart, delivered_to: Iterable[str], key: str) -> list[Receipt]:
    """Return a receipt for each recipient that an e-mail reports on.

    The list is empty if the e-mail is not a report, or names no message.

    Args:
        mail: The e-mail.
        delivered_to: The addresses that it was delivered to; one of them may contain a uid.
        key: The key of the e-mail.
    """
    parts = {part.get_content_type(): part for part in reversed([*leaves(mail)])}
    status = parts.get("message/delivery-status") or parts.get("message/global-delivery-status")
    feedback = parts.get("message/feedback-report")
    about, returned = _NOTHING, _returned(parts)
    if status is not None:
        about, *_ = blocks = _blocks(status) or [_NOTHING]
        recipients = [block for block in blocks if "Action" in block or "Final-Recipient" in block]
        common = _fields(about)
        receipts = [_delivery(common, block) for block in recipients[:MAX_RECIPIENTS]]
    elif feedback is not None:
        about, *_ = _blocks(feedback) or [_NOTHING]
        receipts = _feedback(about)
    elif bounce := read_bounce(mail):
        returned = bounce.returned
        receipts = _failures(bounce)
    else:
        return []

    named = [*message_ids(header(returned, "Message-ID")), *in_reply_to_ids(mail)]
    message_id = next(iter(named), None)
    uid = _uid(delivered_to, about, message_id)
    if uid is None and message_id is None:
        return []
    return [
        replace(
            receipt,
            key=f"{key}:{number}",
            message_uid=uid,
            # Beside our uid it is at best redundant: a relay may have replaced it.
            provider_message_id=None if uid else message_id,
            # Anyone can invent a Message-ID, and could have any address suppressed.
            suppress=receipt.suppress if uid else False,
            occurred_at=receipt.occurred_at or parse_date(header(mail, "Date")),
        )
        for number, receipt in enumerate(receipts)
    ]


def uid_in_address(address: str) -> str | None:
    """Return the uid in the local part of an address, such as a return path of ours, or None."""
    found = _UID.search(address.rpartition("@")[0])
    return found[0].lower() if found else None


def message_ids(text: str | None) -> list[str]:
    """Return the Message-IDs in a header, with their brackets, of at most 255 characters."""
    return _MESSAGE_ID.findall(text or "")


def in_reply_to_ids(mail: MimePart) -> list[str]:
    """Return the Message-IDs that an e-mail replies to, nearest first."""
    nearest = message_ids(header(mail, "In-Reply-To"))
    return [*nearest, *reversed(message_ids(header(mail, "References")))]


def _uid(delivered_to: Iterable[str], about: MimePart, message_id: str | None) -> str | None:
    """Return the uid of the reported message.

    It is in the message's return path, its envelope id (RFC 3461) or its Message-ID.
    """
    for address in (*delivered_to, *raw_headers(about, "Original-Mail-From")):
        if uid := uid_in_address(address):
            return uid
    for text in (header(about, "Original-Envelope-Id"), (message_id or "")[1:].partition("@")[0]):
        if _UID.fullmatch(text or ""):
            return str(text).lower()
    return None


def _returned(parts: Mapping[str, MimePart]) -> MimePart:
    """Return the headers of the reported message, as far as the report contains them."""
    for name, part in parts.items():
        if name in {"message/rfc822", "message/global"} and children(part):
            return children(part)[0]
        if name in _RETURNED_HEADERS:
            return parse_headers(content(part))
    return _NOTHING


def _blocks(part: MimePart) -> list[MimePart]:
    """Return the blocks of fields of a report, each parsed as headers.

    The standard library's parser splits them in only one of the media types.
    """
    blocks = []
    for block in children(part):
        texts = _BLANK_LINE.split(content(block), maxsplit=MAX_RECIPIENTS)
        blocks += [block, *(parse_headers(text.lstrip()) for text in texts)]
    return [block for block in blocks if block.keys()]


def _delivery(common: Mapping[str, str], group: MimePart) -> Receipt:
    action = (header(group, "Action") or "").split(" ")[0].lower()
    status, diagnostic = header(group, "Status") or "", header(group, "Diagnostic-Code") or ""
    code = _best_code(status, diagnostic)
    kind = KIND_OF_ACTION.get(action) or KIND_OF_CLASS.get((code or "")[:1], "unrecognised")
    if kind == "unrecognised" and action:
        diagnostic = f"action {action}: {diagnostic}".removesuffix(": ")
    # After an alias or a forwarding, the final recipient is not the one of the message.
    recipient = _address(group, "Original-Recipient") or _address(group, "Final-Recipient")
    return Receipt(
        key="",
        kind=kind,
        recipient=recipient,
        occurred_at=parse_date(header(group, "Last-Attempt-Date")),
        code=code,
        detail=excerpt(diagnostic, (recipient,)) or None,
        suppress=recipient is not None and kind == "bounced" and code in DEAD_ADDRESS,
        payload={**common, **_fields(group)},
    )


def _best_code(status: str, diagnostic: str) -> str | None:
    """Return the code of the status, or a more specific one of the diagnostic.

    Some servers report every failure with the status 5.0.0.
    """
    coarse, fine = _CODE.search(status), _CODE.search(diagnostic)
    if coarse is None:
        return fine[0] if fine else None
    if fine and coarse[0] == f"{fine[0][0]}.0.0":
        return fine[0]
    return coarse[0]


def _feedback(about: MimePart) -> list[Receipt]:
    kind = KIND_OF_FEEDBACK.get((header(about, "Feedback-Type") or "").lower(), "unrecognised")
    recipients = [_typed(text) for text in raw_headers(about, "Original-Rcpt-To")]
    return [
        Receipt(
            key="",
            kind=kind,
            recipient=recipient,
            occurred_at=parse_date(header(about, "Arrival-Date") or header(about, "Received-Date")),
            code=header(about, "Feedback-Type"),
            detail=excerpt(header(about, "User-Agent") or "") or None,
            suppress="opt_out" if kind == "unsubscribed" else kind == "complained",
            payload=_fields(about),
        )
        for recipient in recipients[:MAX_RECIPIENTS] or [None]
    ]


def _failures(bounce: Bounce) -> list[Receipt]:
    receipts = []
    for named, reason in islice(bounce.failures.items(), MAX_RECIPIENTS):
        recipient, code = _typed(named), _best_code("", reason)
        receipts.append(
            Receipt(
                key="",
                kind="bounced",
                recipient=recipient,
                code=code,
                detail=excerpt(reason, (recipient,)) or None,
                suppress=recipient is not None and code in DEAD_ADDRESS,
                payload={"reason": reason[:MAX_FIELD]},
            )
        )
    return receipts


def _address(group: MimePart, name: str) -> str | None:
    return _typed(header(group, name) or "")


def _typed(text: str) -> str | None:
    """Return the address after its type, as in `rfc822; ann@example.com`, or None."""
    found = _TYPED_ADDRESS.fullmatch(text.strip())
    return found[1] if found else None


def _fields(block: MimePart) -> dict[str, str]:
    names = block.keys()[:MAX_FIELDS]
    return {name: (header(block, name) or "")[:MAX_FIELD] for name in names}
