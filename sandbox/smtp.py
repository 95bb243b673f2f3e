"""An SMTP server that takes any mail, with or without AUTH, and never passes it on."""

import asyncio
import email
import email.policy
from email.message import EmailMessage
from typing import Any

from aiosmtpd.smtp import SMTP, AuthResult, Envelope, Session

from sandbox.behaviour import AS_USUAL, Behaviour, Rules
from sandbox.received import Outcome, Received, cut

KIND = "smtp"
HEADERS_KEPT = 64


def smtp_connection(received: Received, rules: Rules) -> SMTP:
    """The protocol for one client; a protocol factory for `loop.create_server`."""
    return SMTP(
        _Conversation(received, rules),
        # aiosmtpd would otherwise look its own name up in the DNS for every client.
        hostname="sandbox",
        ident="Postroom sandbox",
        enable_SMTPUTF8=True,
        authenticator=lambda *_: AuthResult(success=True),
        auth_require_tls=False,
    )


class _Conversation:
    """The hooks that aiosmtpd calls, for one client. A recipient's behaviour is chosen at RCPT;
    what it has to do at DATA waits in `_at_data`."""

    def __init__(self, received: Received, rules: Rules) -> None:
        self._received = received
        self._rules = rules
        self._at_data = AS_USUAL

    async def handle_RCPT(  # noqa: N802 - aiosmtpd's name
        self, server: SMTP, _session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        if not envelope.rcpt_tos:
            self._at_data = AS_USUAL
        behaviour = self._rules.choose(KIND, address, envelope.mail_from or "")
        if behaviour.drop == "before":
            await _hang_up(server)
        if behaviour.status is not None and behaviour.at == "rcpt":
            details = {"from": envelope.mail_from, "to": [address]}
            self._received.add(KIND, "refused", (address,), None, details)
            return await _refuse(server, behaviour, behaviour.status)
        if behaviour is not AS_USUAL:
            self._at_data = behaviour
        envelope.rcpt_tos.append(address)
        envelope.rcpt_options.extend(options)
        return "250 2.1.5 OK"

    async def handle_DATA(  # noqa: N802 - aiosmtpd's name
        self, server: SMTP, _session: Session, envelope: Envelope
    ) -> str:
        behaviour = self._at_data
        if behaviour.status is not None:
            self._keep(envelope, "refused")
            return await _refuse(server, behaviour, behaviour.status)
        if behaviour.hang:
            self._keep(envelope, "hung")
            await _until_closed()
        if behaviour.drop == "after":
            self._keep(envelope, "dropped")
            await _hang_up(server)
        self._keep(envelope, "accepted")
        if behaviour.slow_seconds is not None:
            await asyncio.sleep(behaviour.slow_seconds)
        return "250 2.0.0 OK"

    def _keep(self, envelope: Envelope, outcome: Outcome) -> None:
        raw = envelope.original_content or b""
        message = email.message_from_bytes(raw, _class=EmailMessage, policy=email.policy.default)
        headers = {
            name: cut("".join(value.splitlines()))
            for name, value in list(message.raw_items())[:HEADERS_KEPT]
        }
        key = next((v for name, v in headers.items() if name.lower() == "message-id"), None)
        details = {
            "from": envelope.mail_from,
            "to": list(envelope.rcpt_tos),
            "subject": cut(message.get("subject", "")),
            "text": cut(_text(message)),
            "headers": headers,
            "raw": cut(raw.decode(errors="replace")),
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
    """Waits for aiosmtpd, which cancels the conversation when its connection is gone."""
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
