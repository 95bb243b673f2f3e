"""Settings of the `smtp` connector and its mailbox."""

import re
import ssl
from collections.abc import Mapping
from ipaddress import ip_address
from typing import Annotated, ClassVar, Literal, Self

from pydantic import AfterValidator, Field, FilePath, PositiveInt, model_validator
from pydantic.types import SecretStr, StringConstraints

from connectors.base import ConnectorSettings
from connectors.toolkit.mail.addresses import parse_mailbox

Security = Literal["plain", "starttls", "tls"]
Port = Annotated[int, Field(ge=1, le=65535)]
Seconds = Annotated[float, Field(gt=0, le=600, allow_inf_nan=False)]
Folder = Annotated[str, StringConstraints(pattern=r"^[^\x00-\x1f\x7f]+$")]

MAX_LOCAL_PART = 64  # RFC 5321, 4.5.3.1.1
SAMPLE_UID = "0" * 36


def _check_certificates(path: FilePath) -> FilePath:
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(path)
    except ssl.SSLError as error:
        raise ValueError("the file does not contain certificates in PEM format") from error
    return path


def _check_mailbox(text: str) -> str:
    parse_mailbox(text)
    return text


def _check_return_path(text: str) -> str:
    address = parse_mailbox(text.replace("{uid}", SAMPLE_UID))
    if address.display_name:
        raise ValueError("must be an address without a display name")
    if {"{", "}"} & set(address.username):
        raise ValueError("unknown placeholder. Only {uid} is allowed.")
    if len(address.username) > MAX_LOCAL_PART:
        raise ValueError(
            f"the part before the @ is longer than {MAX_LOCAL_PART} characters. "
            f"{{uid}} takes {len(SAMPLE_UID)} of them."
        )
    return text


class MailServerSettings(ConnectorSettings):
    """Settings that SMTP and IMAP servers have in common."""

    default_port: ClassVar[Mapping[Security, int]]

    host: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9._:-]+$")]
    """The server's host name or IP address."""
    port: Port | None = None
    """The port. Defaults to the standard port for `security`."""
    security: Security = "starttls"
    """`starttls` upgrades the connection to TLS before anything else is sent, `tls` uses TLS from
    the start, `plain` does not encrypt."""
    username: str | None = None
    """The user name, in ASCII. Requires `password`, and TLS unless the host is localhost."""
    password: SecretStr | None = None
    """The password, in ASCII."""
    ca_file: Annotated[FilePath, AfterValidator(_check_certificates)] | None = None
    """A file of CA certificates in PEM format, trusted in addition to the system's."""

    @property
    def port_number(self) -> int:
        """The port to connect to."""
        return self.port or self.default_port[self.security]

    def tls(self) -> ssl.SSLContext:
        """Return the TLS context that verifies the server."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        if self.security != "plain":
            context.load_default_certs()
        if self.ca_file is not None:
            context.load_verify_locations(self.ca_file)
        return context

    @model_validator(mode="after")
    def _check_credentials(self) -> Self:
        if (self.username is None) != (self.password is None):
            raise ValueError("username, password: set both or neither.")
        if self.username is None or self.password is None:
            return self
        # smtplib and imapclient encode them as ASCII; a line break would end an IMAP command.
        if not re.fullmatch("[ -~]*", self.username + self.password.get_secret_value()):
            raise ValueError("username, password: only printable ASCII characters are allowed.")
        if self.security == "plain" and not _is_loopback(self.host):
            raise ValueError(
                "security: credentials must not be sent to a remote host without encryption. "
                'Use "starttls" or "tls".'
            )
        return self


class MailboxSettings(MailServerSettings):
    """An IMAP mailbox for bounces and replies that no other program or person reads."""

    # RFC 8314 for implicit TLS, RFC 9051 for the other.
    default_port: ClassVar[Mapping[Security, int]] = {"plain": 143, "starttls": 143, "tls": 993}

    port: Port | None = None
    """The port. Defaults to 993 for `tls`, 143 for `starttls` and `plain`."""
    security: Security = "tls"
    """`tls` uses TLS from the start, `starttls` upgrades the connection to TLS before anything else
    is sent, `plain` does not encrypt."""
    username: Annotated[str, StringConstraints(pattern=r"^[!#-$&-'+-\[\]-z|}~]+$")]
    """The user name, in ASCII. Requires TLS unless the host is localhost."""
    password: SecretStr
    """The password, in ASCII."""
    folder: Folder = "INBOX"
    """The folder to read. Unread messages in it are processed."""
    move_to: Folder | None = None
    """The folder to move processed messages to. Without one, they are marked as read."""
    delete: bool = False
    """Whether to delete processed messages."""
    messages_per_round: PositiveInt = 100
    """The maximum number of messages to process in one round."""
    message_limit_bytes: PositiveInt = 25 * 1024 * 1024
    """How much of a message is fetched. A longer message is truncated, and never deleted."""
    connect_timeout_seconds: Seconds = 10
    """How long connecting may take."""
    read_timeout_seconds: Seconds = 30
    """How long the server may go without sending any data."""
    total_timeout_seconds: Seconds = 120
    """How long a round may take in total. The next round continues where it stopped."""

    @model_validator(mode="after")
    def _check_disposal(self) -> Self:
        if self.delete and self.move_to is not None:
            raise ValueError("move_to, delete: set only one of them.")
        return self


class SmtpSettings(MailServerSettings):
    """An SMTP server, and the addresses to send from."""

    # RFC 8314 for submission with and without implicit TLS, RFC 5321 for the relay port.
    default_port: ClassVar[Mapping[Security, int]] = {"plain": 25, "starttls": 587, "tls": 465}

    port: Port | None = None
    """The port. Defaults to 587 for `starttls`, 465 for `tls`, 25 for `plain`."""
    sender: Annotated[str, AfterValidator(_check_mailbox)] | None = None
    """The default From address, as `Name <address>` or an address alone."""
    return_path: Annotated[str, AfterValidator(_check_return_path)] | None = None
    """The envelope sender, which receives bounces. Defaults to the From address. `{uid}` is
    replaced by the message's uid, so that a bounce can be matched to its message."""
    mailbox: MailboxSettings | None = None
    """The IMAP mailbox that receives bounces and replies. Without one, they are not read."""
    helo_name: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9.:\[\]-]+$")] | None = None
    """The name to use in EHLO. Defaults to the local IP address."""
    connect_timeout_seconds: Seconds = 10
    """How long connecting to one address of the host may take."""
    read_timeout_seconds: Seconds = 30
    """How long the TLS handshake may take, and how long the server may go without sending any data.
    Does not apply to the final reply after the message data."""
    total_timeout_seconds: Seconds = 120
    """How long sending one message may take in total. A slow DNS lookup can exceed it."""
    messages_per_connection: PositiveInt = 100
    """How many messages to send over one connection."""
    idle_seconds: Seconds = 30
    """How long an unused connection stays open."""

    @model_validator(mode="after")
    def _check_timeouts(self) -> Self:
        if self.total_timeout_seconds < max(
            self.connect_timeout_seconds, self.read_timeout_seconds
        ):
            raise ValueError(
                "total_timeout_seconds: must not be less than connect_timeout_seconds and "
                "read_timeout_seconds."
            )
        return self


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False
