"""What became of mail of ours, as mail servers and mailbox providers report it by mail.

Delivery reports as in RFC 3464 and RFC 6533, complaints in the Abuse Reporting Format (RFC 5965),
and the free-text bounces of other servers (`connectors.toolkit.mail.bounce_texts`). Anyone can
write such a mail, so a report that names no message of ours is ignored.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import replace
from email.parser import BytesHeaderParser, HeaderParser
from itertools import islice

from connectors.base import Receipt, ReceiptKind
from connectors.toolkit.excerpts import excerpt
from connectors.toolkit.mail.bounce_texts import Bounce, read_bounce
from connectors.toolkit.mail.parts import children, content, leaves
from connectors.toolkit.mail.smtp_replies import DEAD_ADDRESS
from connectors.toolkit.mail.text import MimePart, header, moment, raw_headers

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
RECIPIENTS_OF_A_REPORT = 1000
FIELDS_OF_A_BLOCK = 50
MAX_FIELD = 1000

_UID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)
_MESSAGE_ID = re.compile(r"<[^<>\s]{1,253}>")
_CODE = re.compile(r"(?<![\d.])[245]\.\d{1,3}\.\d{1,3}(?!\.?\d)")
_TYPED_ADDRESS = re.compile(r"(?:[\w-]+[ \t]*;)?\s*<?([^\s<>;]{1,254}@[^\s<>;@]{1,254})>?")
_BLANK_LINE = re.compile(rb"\r?\n[ \t]*\r?\n")
_RETURNED_HEADERS = {"text/rfc822-headers", "message/rfc822-headers", "message/global-headers"}
_NOTHING: MimePart = HeaderParser().parsestr("")


def read_reports(mail: MimePart, delivered_to: Iterable[str], key: str) -> list[Receipt]:
    """What a mail reports of a message, for each recipient; nothing where it is no report, or one
    that names no message. `delivered_to` are the addresses that the mail came to, one of which
    may hold our uid; `key` is that of the mail.
    """
    parts = {part.get_content_type(): part for part in reversed([*leaves(mail)])}
    status = parts.get("message/delivery-status") or parts.get("message/global-delivery-status")
    feedback = parts.get("message/feedback-report")
    about, returned = _NOTHING, _returned(parts)
    if status is not None:
        about, *_ = blocks = _blocks(status) or [_NOTHING]
        recipients = [block for block in blocks if "Action" in block or "Final-Recipient" in block]
        common = _fields(about)
        said = [_delivery(common, one) for one in recipients[:RECIPIENTS_OF_A_REPORT]]
    elif feedback is not None:
        about, *_ = _blocks(feedback) or [_NOTHING]
        said = _feedback(about)
    elif bounce := read_bounce(mail):
        returned = bounce.returned
        said = _failures(bounce)
    else:
        return []

    answered = [*message_ids(header(returned, "Message-ID")), *answered_ids(mail)]
    message_id = next(iter(answered), None)
    uid = _uid(delivered_to, about, message_id)
    if uid is None and message_id is None:
        return []
    return [
        replace(
            one,
            key=f"{key}:{number}",
            message_uid=uid,
            # Next to our uid it could only contradict, as where a relay has put in its own.
            provider_message_id=None if uid else message_id,
            # A Message-ID that is not ours anybody can think of, and so shut any address up.
            suppress=one.suppress if uid else False,
            occurred_at=one.occurred_at or moment(header(mail, "Date")),
        )
        for number, one in enumerate(said)
    ]


def uid_in_address(address: str) -> str | None:
    """Our uid, where the local part holds one, as a return path of ours does."""
    found = _UID.search(address.rpartition("@")[0])
    return found[0].lower() if found else None


def message_ids(text: str | None) -> list[str]:
    """The Message-IDs in a header, with their brackets. Longer ones than RFC 5322 has room for
    are none.
    """
    return _MESSAGE_ID.findall(text or "")


def answered_ids(mail: MimePart) -> list[str]:
    """The Message-IDs that a mail answers, nearest first."""
    nearest = message_ids(header(mail, "In-Reply-To"))
    return [*nearest, *reversed(message_ids(header(mail, "References")))]


def _uid(delivered_to: Iterable[str], about: MimePart, message_id: str | None) -> str | None:
    """Our uid of the message that is meant: from its return path, its envelope id (RFC 3461) or
    its Message-ID.
    """
    for address in (*delivered_to, *raw_headers(about, "Original-Mail-From")):
        if uid := uid_in_address(address):
            return uid
    for text in (header(about, "Original-Envelope-Id"), (message_id or "")[1:].partition("@")[0]):
        if _UID.fullmatch(text or ""):
            return str(text).lower()
    return None


def _returned(parts: Mapping[str, MimePart]) -> MimePart:
    """The headers of the message that is meant, as far as they came back."""
    for name, part in parts.items():
        if name in {"message/rfc822", "message/global"} and children(part):
            return children(part)[0]
        if name in _RETURNED_HEADERS:
            return BytesHeaderParser().parsebytes(content(part))
    return _NOTHING


def _blocks(part: MimePart) -> list[MimePart]:
    """The blocks of fields of a report, each as headers. The parser of the standard library takes
    them apart in one of its types alone.
    """
    blocks = []
    for block in children(part):
        texts = _BLANK_LINE.split(content(block))
        blocks += [block, *(BytesHeaderParser().parsebytes(text.lstrip()) for text in texts)]
    return [block for block in blocks if block.keys()]


def _delivery(common: Mapping[str, str], group: MimePart) -> Receipt:
    action = (header(group, "Action") or "").split(" ")[0].lower()
    status, diagnostic = header(group, "Status") or "", header(group, "Diagnostic-Code") or ""
    code = _precise(status, diagnostic)
    kind = KIND_OF_ACTION.get(action) or KIND_OF_CLASS.get((code or "")[:1], "unrecognised")
    # The final address may be one that nobody wrote to, behind an alias or a forwarding.
    recipient = _address(group, "Original-Recipient") or _address(group, "Final-Recipient")
    return Receipt(
        key="",
        kind=kind,
        recipient=recipient,
        occurred_at=moment(header(group, "Last-Attempt-Date")),
        code=code,
        detail=excerpt(diagnostic, (recipient,)) or None,
        suppress=recipient is not None and kind == "bounced" and code in DEAD_ADDRESS,
        payload={**common, **_fields(group)},
    )


def _precise(status: str, diagnostic: str) -> str | None:
    """The code of a status, or a more precise one that the diagnostic has: some servers say 5.0.0
    of all failures.
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
            occurred_at=moment(header(about, "Arrival-Date") or header(about, "Received-Date")),
            code=header(about, "Feedback-Type"),
            detail=excerpt(header(about, "User-Agent") or "") or None,
            suppress="opt_out" if kind == "unsubscribed" else kind == "complained",
            payload=_fields(about),
        )
        for recipient in recipients[:RECIPIENTS_OF_A_REPORT] or [None]
    ]


def _failures(bounce: Bounce) -> list[Receipt]:
    receipts = []
    for named, reason in islice(bounce.failures.items(), RECIPIENTS_OF_A_REPORT):
        recipient, code = _typed(named), _precise("", reason)
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
    """The address behind its type, as in `rfc822; ann@example.com`."""
    found = _TYPED_ADDRESS.fullmatch(text.strip())
    return found[1] if found else None


def _fields(block: MimePart) -> dict[str, str]:
    names = block.keys()[:FIELDS_OF_A_BLOCK]
    return {name: (header(block, name) or "")[:MAX_FIELD] for name in names}
