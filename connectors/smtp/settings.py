"""How mail servers are reached, and who we are to them."""

import re
import ssl
from collections.abc import Mapping
from ipaddress import ip_address
from typing import Annotated, ClassVar, Literal, Self

from pydantic import AfterValidator, Field, FilePath, PositiveInt, model_validator
from pydantic.types import SecretStr, StringConstraints

from connectors.base import ConnectorSettings
from connectors.toolkit.mail.mime import mailbox

Security = Literal["plain", "starttls", "tls"]
Port = Annotated[int, Field(ge=1, le=65535)]
Seconds = Annotated[float, Field(gt=0, le=600, allow_inf_nan=False)]
# Beyond ASCII a folder has another name on the wire; a quote or a backslash would end this one.
Folder = Annotated[str, StringConstraints(pattern=r"^[ !#-\[\]-~]+$")]

MAX_LOCAL_PART = 64  # RFC 5321, 4.5.3.1.1
MAX_UID = "0" * 36


def _with_certificates(path: FilePath) -> FilePath:
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(path)
    except ssl.SSLError as error:
        raise ValueError("holds no certificate in PEM form") from error
    return path


def _mailbox(text: str) -> str:
    mailbox(text)
    return text


def _return_path(text: str) -> str:
    address = mailbox(text.replace("{uid}", MAX_UID))
    if address.display_name:
        raise ValueError("must be an address without a name")
    if {"{", "}"} & set(address.username):
        raise ValueError("knows no other placeholder than {uid}")
    if len(address.username) > MAX_LOCAL_PART:
        raise ValueError("is longer than 64 characters before its @, a uid taking 36")
    return text


class MailServerSettings(ConnectorSettings):
    """What SMTP and IMAP servers have in common."""

    default_port: ClassVar[Mapping[Security, int]]

    host: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9._:-]+$")]
    """The name or the address of the server."""
    port: Port | None = None
    """Its port. Without one, the usual port of `security`."""
    security: Security = "starttls"
    """`starttls` turns to TLS before anything else is said, `tls` begins with it, `plain` never."""
    username: str | None = None
    """Who logs in, in ASCII. Goes with `password`, and over TLS alone unless the host is this
    very one."""
    password: SecretStr | None = None
    """The password to log in with, in ASCII."""
    ca_file: Annotated[FilePath, AfterValidator(_with_certificates)] | None = None
    """Certificates in PEM form that are trusted beside the authorities of the system."""

    @property
    def port_number(self) -> int:
        """The port to connect to."""
        return self.port or self.default_port[self.security]

    def tls(self) -> ssl.SSLContext:
        """What verifies the server."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        if self.security != "plain":
            context.load_default_certs()
        if self.ca_file is not None:
            context.load_verify_locations(self.ca_file)
        return context

    @model_validator(mode="after")
    def _credentials_are_safe(self) -> Self:
        if (self.username is None) != (self.password is None):
            raise ValueError("username and password go together")
        if self.username is None or self.password is None:
            return self
        # smtplib and imaplib write them as ASCII, the latter into one line.
        if not re.fullmatch("[ -~]*", self.username + self.password.get_secret_value()):
            raise ValueError("username and password must be ASCII, and printable")
        if self.security == "plain" and not _is_loopback(self.host):
            raise ValueError('credentials need security = "starttls" or "tls" on a remote host')
        return self


class MailboxSettings(MailServerSettings):
    """A mailbox on an IMAP server that bounces and replies come to, and nobody else reads."""

    # RFC 8314 for implicit TLS, RFC 9051 for the other.
    default_port: ClassVar[Mapping[Security, int]] = {"plain": 143, "starttls": 143, "tls": 993}

    port: Port | None = None
    """Its port. Without one, as `security` has it: plain 143, starttls 143, tls 993."""
    security: Security = "tls"
    """`tls` begins with TLS, `starttls` turns to it before anything else is said, `plain` never."""
    username: Annotated[str, StringConstraints(pattern=r"^[!#-$&-'+-\[\]-z|}~]+$")]
    """Who logs in, in ASCII; over TLS alone unless the host is this very one."""
    password: SecretStr
    """The password to log in with, in ASCII."""
    folder: Folder = "INBOX"
    """The folder that is read, in ASCII. What is unread there is collected."""
    move_to: Folder | None = None
    """The folder that collected mail is moved to. Without one, it is marked as read."""
    delete: bool = False
    """Whether collected mail is deleted."""
    mails_per_round: PositiveInt = 100
    """How many mails are collected in one round."""
    mail_limit_bytes: PositiveInt = 25 * 1024 * 1024
    """How much of a mail is fetched. A longer one is cut there, and never deleted."""
    silence_timeout_seconds: Seconds = 30
    """How long the connection may take, and then each silence of the server."""
    total_timeout_seconds: Seconds = 120
    """How long a round may take as a whole; the next one goes on."""

    @model_validator(mode="after")
    def _one_thing_is_done(self) -> Self:
        if self.delete and self.move_to is not None:
            raise ValueError("move_to and delete exclude each other")
        return self


class SmtpSettings(MailServerSettings):
    """An SMTP server, and who we are to it.

    A slow name lookup, which no program can interrupt, may take longer than the limits; nothing
    is sent any more in that case.
    """

    # RFC 8314 for submission with and without implicit TLS, RFC 5321 for the relay port.
    default_port: ClassVar[Mapping[Security, int]] = {"plain": 25, "starttls": 587, "tls": 465}

    port: Port | None = None
    """Its port. Without one, as `security` has it: plain 25, starttls 587, tls 465."""
    sender: Annotated[str, AfterValidator(_mailbox)] | None = None
    """The From of messages that name none: `Name <address>`, or an address alone."""
    return_path: Annotated[str, AfterValidator(_return_path)] | None = None
    """The envelope sender, to which bounces go, where it is not to be the sender's address. In it
    `{uid}` stands for the message's uid, so that any bounce tells which message it is of."""
    mailbox: MailboxSettings | None = None
    """The mailbox that bounces and replies come to, where they are to be collected."""
    helo_name: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9.:\[\]-]+$")] | None = None
    """How we introduce ourselves. Without one, by our address on the connection."""
    connect_timeout_seconds: Seconds = 10
    """How long the connection to one address of the host may take."""
    read_timeout_seconds: Seconds = 30
    """How long the TLS handshake may take, and each silence of the server up to the end of the
    data."""
    total_timeout_seconds: Seconds = 120
    """How long a send may take as a whole."""
    messages_per_connection: PositiveInt = 100
    """After how many messages a connection is left."""
    idle_seconds: Seconds = 30
    """After how long without use a connection is left."""

    @model_validator(mode="after")
    def _total_is_the_longest(self) -> Self:
        if self.total_timeout_seconds < max(
            self.connect_timeout_seconds, self.read_timeout_seconds
        ):
            raise ValueError("total_timeout_seconds must not be below the other two limits")
        return self


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False
