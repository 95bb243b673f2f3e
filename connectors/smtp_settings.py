"""How an SMTP server is reached, and who we are to it."""

import ssl
from ipaddress import ip_address
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, FilePath, PositiveInt, model_validator
from pydantic.types import SecretStr, StringConstraints

from connectors.base import ConnectorSettings
from connectors.mime import mailbox

Security = Literal["plain", "starttls", "tls"]
Seconds = Annotated[float, Field(gt=0, le=600, allow_inf_nan=False)]

# RFC 8314 for submission with and without implicit TLS, RFC 5321 for the relay port.
DEFAULT_PORT: dict[Security, int] = {"plain": 25, "starttls": 587, "tls": 465}


def _with_certificates(path: FilePath) -> FilePath:
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(path)
    except ssl.SSLError as error:
        raise ValueError("holds no certificate in PEM form") from error
    return path


def _mailbox(text: str) -> str:
    mailbox(text)
    return text


def _bare_address(text: str) -> str:
    if mailbox(text).display_name:
        raise ValueError("must be an address without a name")
    return text


class SmtpSettings(ConnectorSettings):
    """An SMTP server, and who we are to it.

    A slow name lookup, which no program can interrupt, may take longer than the limits; nothing
    is sent any more in that case.
    """

    host: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9._:-]+$")]
    """The name or the address of the server."""
    port: Annotated[int, Field(ge=1, le=65535)] | None = None
    """Its port. Without one, as `security` has it: plain 25, starttls 587, tls 465."""
    security: Security = "starttls"
    """`starttls` turns to TLS before anything else is said, `tls` begins with it, `plain` never."""
    username: str | None = None
    """Who logs in, in ASCII. Goes with `password`, and over TLS alone unless the host is this
    very one."""
    password: SecretStr | None = None
    """The password to log in with, in ASCII."""
    sender: Annotated[str, AfterValidator(_mailbox)] | None = None
    """The From of messages that name none: `Name <address>`, or an address alone."""
    return_path: Annotated[str, AfterValidator(_bare_address)] | None = None
    """The envelope sender, to which bounces go, where it is not to be the sender's address."""
    helo_name: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9.:\[\]-]+$")] | None = None
    """How we introduce ourselves. Without one, by our address on the connection."""
    ca_file: Annotated[FilePath, AfterValidator(_with_certificates)] | None = None
    """Certificates in PEM form that are trusted beside the authorities of the system."""
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

    @property
    def port_number(self) -> int:
        """The port to connect to."""
        return self.port or DEFAULT_PORT[self.security]

    @model_validator(mode="after")
    def _credentials_are_safe(self) -> "SmtpSettings":
        if (self.username is None) != (self.password is None):
            raise ValueError("username and password go together")
        if self.username is None or self.password is None:
            return self
        # smtplib writes them as ASCII.
        if not (self.username + self.password.get_secret_value()).isascii():
            raise ValueError("username and password must be ASCII")
        if self.security == "plain" and not _is_loopback(self.host):
            raise ValueError('credentials need security = "starttls" or "tls" on a remote host')
        return self

    @model_validator(mode="after")
    def _total_is_the_longest(self) -> "SmtpSettings":
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
