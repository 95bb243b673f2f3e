"""Read e-mail that reports on messages of ours: deliveries, bounces and complaints.

These are delivery reports (RFC 3464, RFC 6533), complaints in the Abuse Reporting Format (RFC 5965)
and the free-text bounces of other servers (`connectors.toolkit.mail.bounce_texts`). Anyone can
write such a mail, so a report that names no message of ours is ignored.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from itertools import islice

from connectors.base import Receipt, ReceiptKind, ReceiptOrigin, Suppress
from connectors.toolkit.excerpts import excerpt
from connectors.toolkit.mail.bounce_texts import Bounce, read_bounce
from connectors.toolkit.mail.failures import CODE, DEAD_CODES, classify
from connectors.toolkit.mail.parser import MimePart, parse_headers
from connectors.toolkit.mail.parts import children, leaves
from connectors.toolkit.mail.parts import content as content_of
from connectors.toolkit.mail.report_fields import MAX_FIELDS, read_blocks
from connectors.toolkit.mail.text import header, mailboxes, parse_date, raw_headers

KIND_OF_ACTION: Mapping[str, ReceiptKind] = {
    "failed": "bounced",
    # Two that some servers send instead:
    "failure": "bounced",
    "error": "bounced",
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
MAX_FIELD = 1000

_UID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)
_MESSAGE_ID = re.compile(r"<[^<>\s]{1,253}>")
_TYPED_ADDRESS = re.compile(r"(?:[\w-]+[ \t]*;)?\s*<?([^\s<>;]{1,254}@[^\s<>;@]{1,254})>?")
_STATUS_REPORTS = {"message/delivery-status", "message/global-delivery-status"}
_RETURNED_HEADERS = {"text/rfc822-headers", "message/rfc822-headers", "message/global-headers"}
_NOTHING: MimePart = parse_headers(b"")


def read_reports(
    mail: MimePart,
    content: bytes,
    delivered_to: Sequence[str],
    key: str,
    envelope_sender: str | None = None,
) -> list[Receipt]:
    """Return a receipt for each recipient that an e-mail reports on.

    The list is empty if the e-mail is not a report, or names no message.

    Args:
        mail: The e-mail.
        content: The same, unparsed.
        delivered_to: The addresses that it was delivered to; one of them may contain a uid.
        key: The key of the e-mail.
        envelope_sender: The sender of the SMTP envelope, if known.
    """
    parts = [*leaves(mail)]
    returned = _returned(parts)
    about, receipts = _deliveries(parts)
    if not receipts:
        about, receipts = _complaints(parts)
    if all(receipt.recipient is None for receipt in receipts) and not any(
        receipt.kind in {"complained", "unsubscribed"} for receipt in receipts
    ):
        bounce = read_bounce(mail, content, envelope_sender)
        if bounce is not None:
            returned = returned if returned.keys() else bounce.returned
            receipts = _failures(bounce)

    named = [*message_ids(header(returned, "Message-ID")), *in_reply_to_ids(mail)]
    message_id = next(iter(named), None)
    uid = _uid(delivered_to, about, message_id)
    if uid is None and message_id is None:
        return []
    is_addressed = any(uid_in_address(address) == uid for address in delivered_to)
    return [
        _identified(
            replace(
                receipt,
                key=f"{key}:{number}",
                occurred_at=receipt.occurred_at or parse_date(header(mail, "Date")),
            ),
            mail,
            uid,
            message_id,
            is_addressed=is_addressed,
        )
        for number, receipt in enumerate(receipts)
    ]


def _identified(
    receipt: Receipt,
    mail: MimePart,
    uid: str | None,
    message_id: str | None,
    *,
    is_addressed: bool,
) -> Receipt:
    """Return a receipt with the id of its message, and with who can have made it."""
    if uid is None:
        # Anyone can invent a Message-ID, and could have any address suppressed.
        suppress: Suppress = "soft_bounce" if receipt.kind == "bounced" else False
        return replace(
            receipt,
            provider_message_id=message_id,
            suppress=suppress if receipt.suppress else False,
            origin="unverified",
        )
    origin: ReceiptOrigin = "addressed" if is_addressed else "unverified"
    if receipt.recipient and _is_from_domain(mail, receipt.recipient.rpartition("@")[2]):
        origin = "verified"
    # Beside our uid the Message-ID is at best redundant: a relay may have replaced it.
    return replace(receipt, message_uid=uid, origin=origin)


def _is_from_domain(mail: MimePart, domain: str) -> bool:
    """Return whether an e-mail comes from a domain, its parent or one below it."""
    domain = domain.lower()
    senders = [address.domain.lower() for address in mailboxes(mail, "From")]
    return any(
        sender == domain
        or sender.endswith(f".{domain}")
        or ("." in sender and domain.endswith(f".{sender}"))
        for sender in senders
    )


def _deliveries(parts: Sequence[MimePart]) -> tuple[MimePart, list[Receipt]]:
    """Return the fields about the message and the receipts of all delivery reports."""
    about = _NOTHING
    receipts: dict[tuple[str, str | None], Receipt] = {}
    for part in parts:
        if part.get_content_type() not in _STATUS_REPORTS:
            continue
        blocks = read_blocks(part) or [_NOTHING]
        about = about if about.keys() else blocks[0]
        common = _fields(blocks[0])
        for block in blocks:
            if "Action" in block or "Final-Recipient" in block or "Original-Recipient" in block:
                receipt = _delivery(common, block)
                # The same recipient may be in a second report, for programs of another kind.
                receipts.setdefault((receipt.kind, receipt.recipient), receipt)
            if len(receipts) == MAX_RECIPIENTS:
                break
    return about, [*receipts.values()]


def _complaints(parts: Sequence[MimePart]) -> tuple[MimePart, list[Receipt]]:
    """Return the fields about the message and the receipts of a complaint."""
    for part in parts:
        if part.get_content_type() == "message/feedback-report":
            about = next(iter(read_blocks(part)), _NOTHING)
            return about, _feedback(about)
    return _NOTHING, []


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


def _returned(parts: Sequence[MimePart]) -> MimePart:
    """Return the headers of the reported message, as far as the report contains them."""
    for part in parts:
        name = part.get_content_type()
        if name in {"message/rfc822", "message/global"} and children(part):
            return children(part)[0]
        if name in _RETURNED_HEADERS:
            return parse_headers(content_of(part))
    return _NOTHING


def _delivery(common: Mapping[str, str], group: MimePart) -> Receipt:
    action = (header(group, "Action") or "").partition("(")[0].strip().lower()
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
        suppress=_suppress(kind, recipient, code, f"{status} {diagnostic}"),
        payload={**common, **_fields(group)},
    )


def _best_code(status: str, diagnostic: str) -> str | None:
    """Return the code of the status, or a better one of the diagnostic.

    Some servers report every failure with the status 5.0.0, or with that of a missing mailbox.
    """
    coarse, fine = CODE.search(status), CODE.search(diagnostic)
    if coarse is None or fine is None:
        found = coarse or fine
        return found[0] if found else None
    if coarse[0] == f"{fine[0][0]}.0.0":
        return fine[0]
    return fine[0] if coarse[0] in DEAD_CODES and fine[0] not in DEAD_CODES else coarse[0]


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
    return [
        *(_failure("bounced", *failure) for failure in _first(bounce.failures)),
        *(_failure("deferred", *delay) for delay in _first(bounce.delays)),
    ]


def _first(failures: Mapping[str, str]) -> Iterable[tuple[str, str]]:
    return islice(failures.items(), MAX_RECIPIENTS)


def _failure(kind: ReceiptKind, named: str, reason: str) -> Receipt:
    recipient, code = _typed(named), _best_code("", reason)
    return Receipt(
        key="",
        kind=kind,
        recipient=recipient,
        code=code,
        detail=excerpt(reason, (recipient,)) or None,
        suppress=_suppress(kind, recipient, code, reason),
        payload={"reason": reason[:MAX_FIELD]},
    )


def _suppress(kind: ReceiptKind, recipient: str | None, code: str | None, text: str) -> Suppress:
    return classify(code, text) if kind == "bounced" and recipient is not None else False


def _address(group: MimePart, name: str) -> str | None:
    return _typed(header(group, name) or "")


def _typed(text: str) -> str | None:
    """Return the address after its type, as in `rfc822; ann@example.com`, or None."""
    found = _TYPED_ADDRESS.fullmatch(text.strip())
    return found[1] if found else None


def _fields(block: MimePart) -> dict[str, str]:
    names = block.keys()[:MAX_FIELDS]
    return {name: (header(block, name) or "")[:MAX_FIELD] for name in names}
