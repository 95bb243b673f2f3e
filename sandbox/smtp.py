"""An SMTP server that accepts any mail, with or without a login, and sends nothing on."""

import asyncio
import email
import email.policy
from email.message import EmailMessage
from typing import Any

from aiosmtpd.smtp import SMTP, AuthResult, Envelope, Session

from sandbox.behaviour import NORMAL, Behaviour, Rules
from sandbox.received import Outcome, Received, truncate

KIND = "smtp"
MAX_HEADERS = 64


def smtp_connection(received: Received, rules: Rules) -> SMTP:
    """Return the protocol for one client connection."""
    return SMTP(
        _Conversation(received, rules),
        # Without a name, aiosmtpd looks up its own in the DNS for every client.
        hostname="sandbox",
        ident="Postroom sandbox",
        enable_SMTPUTF8=True,
        authenticator=lambda *_: AuthResult(success=True),
        auth_require_tls=False,
    )


class _Conversation:
    """The hooks that aiosmtpd calls, for one client.

    A recipient's behaviour is chosen at RCPT; the part that applies at DATA waits in `_at_data`.
    """

    def __init__(self, received: Received, rules: Rules) -> None:
        self._received = received
        self._rules = rules
        self._at_data = NORMAL

    async def handle_RCPT(  # noqa: N802 - aiosmtpd's name
        self, server: SMTP, _session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        if not envelope.rcpt_tos:
            self._at_data = NORMAL
        behaviour = self._rules.choose(KIND, address, envelope.mail_from or "")
        if behaviour.drop == "before":
            await _hang_up(server)
        if behaviour.status is not None and behaviour.at == "rcpt":
            details = {"from": envelope.mail_from, "to": [address]}
            self._received.add(KIND, "refused", (address,), None, details)
            return await _refuse(server, behaviour, behaviour.status)
        if behaviour is not NORMAL:
            self._at_data = behaviour
        envelope.rcpt_tos.append(address)
        envelope.rcpt_options.extend(options)
        return "250 2.1.5 OK"

    async def handle_DATA(  # noqa: N802 - aiosmtpd's name
        self, server: SMTP, _session: Session, envelope: Envelope
    ) -> str:
        behaviour = self._at_data
        if behaviour.status is not None:
            self._record(envelope, "refused")
            return await _refuse(server, behaviour, behaviour.status)
        if behaviour.hang:
            self._record(envelope, "hung")
            await _until_closed()
        if behaviour.drop == "after":
            self._record(envelope, "dropped")
            await _hang_up(server)
        self._record(envelope, "accepted")
        if behaviour.slow_seconds is not None:
            await asyncio.sleep(behaviour.slow_seconds)
        return "250 2.0.0 OK"

    def _record(self, envelope: Envelope, outcome: Outcome) -> None:
        raw = envelope.original_content or b""
        message = email.message_from_bytes(raw, _class=EmailMessage, policy=email.policy.default)
        headers = {
            name: truncate("".join(value.splitlines()))
            for name, value in list(message.raw_items())[:MAX_HEADERS]
        }
        key = next((v for name, v in headers.items() if name.lower() == "message-id"), None)
        details = {
            "from": envelope.mail_from,
            "to": list(envelope.rcpt_tos),
            "subject": truncate(message.get("subject", "")),
            "text": truncate(_text(message)),
            "headers": headers,
            "raw": truncate(raw.decode(errors="replace")),
        }
        self._received.add(KIND, outcome, tuple(envelope.rcpt_tos), key, details)


async def _refuse(server: SMTP, behaviour: Behaviour, status: int) -> str:
    enhanced = behaviour.enhanced or f"{status // 100}.0.0"
    text = "Refused by the sandbox" if behaviour.body is None else str(behaviour.body)
    reply = " ".join([str(status), enhanced, *text.split()])
    if status == 421:
        # RFC 5321, 3.8: a server that says 421 closes the connection.
        await server.push(reply)
        await _hang_up(server)
    return reply


async def _hang_up(server: SMTP) -> None:
    if server.transport is not None:
        server.transport.close()
    await _until_closed()


async def _until_closed() -> None:
    """Wait until aiosmtpd cancels this conversation, when its connection is closed."""
    await asyncio.get_running_loop().create_future()


def _text(message: EmailMessage) -> str:
    part: Any = message.get_body(preferencelist=("plain", "html"))
    if part is None:
        return ""
    payload: bytes = part.get_payload(decode=True) or b""
    try:
        return payload.decode(part.get_content_charset("utf-8"), errors="replace")
    except LookupError:
        return payload.decode(errors="replace")
