"""Normalise and compare the addresses of messages: e-mail addresses and phone numbers."""

from email.headerregistry import Address
from string import ascii_lowercase, ascii_uppercase

import phonenumbers
from email_validator import ValidatedEmail, validate_email

from connectors.toolkit.mail.addresses import parse_mailbox

PHONE_CHANNELS = frozenset({"sms", "mms"})
LINK_SCHEMES = frozenset({"tel", "sms", "smsto", "mms", "mmsto"})
"""Schemes of links to a phone number. Behind them the number is the same address."""
MAX_SHORT_CODE_DIGITS = 8
NAME_PUNCTUATION = " -_.,&+!/'"
TO_LOWER = str.maketrans(ascii_uppercase, ascii_lowercase)


def phone(value: str, region: str | None = None) -> str:
    """Return a phone number in E.164, such as +4915112345678.

    Args:
        value: The number in any common notation.
        region: The country (ISO 3166-1 alpha-2, such as DE) of a number without country code.

    Raises:
        ValueError: the number cannot exist.
    """
    try:
        number = phonenumbers.parse(value, region)
    except phonenumbers.NumberParseException:
        raise ValueError(
            "not a phone number. Use the international form, such as +4915112345678."
        ) from None
    # Local-only numbers, which lack their area code, are "possible" too, but cannot be reached.
    reason = phonenumbers.is_possible_number_with_reason(number)
    if reason != phonenumbers.ValidationResult.IS_POSSIBLE:
        raise ValueError("not a possible phone number: its length or country code is not valid.")
    return phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164)


def email(value: str) -> str:
    """Return the address without a display name, its domain in lower case.

    Raises:
        ValueError: the value is not exactly one e-mail address.
    """
    return _parse_email(value)[1].normalized


def mailbox(value: str) -> str:
    """Return the address with its display name, if any: `Ann <ann@example.com>`.

    Raises:
        ValueError: the value is not exactly one e-mail address.
    """
    name, address = _parse_email(value)
    if not name:
        return address.normalized
    return str(Address(name, username=address.local_part, domain=address.domain))


def _parse_email(value: str) -> tuple[str, ValidatedEmail]:
    """Return the display name and the address."""
    try:
        parsed = parse_mailbox(value)
        bare = f"{parsed.username}@{parsed.domain}"
        return parsed.display_name, validate_email(bare, check_deliverability=False)
    except ValueError as error:
        raise ValueError(f"not an e-mail address: {error}") from None


def normalise(channel: str, value: str, region: str | None = None) -> str:
    """Return a recipient in the form in which it is stored.

    E-mail addresses and phone numbers are normalised; a phone number also behind the scheme of
    another network that uses an SMS provider (`whatsapp:+49…`), and without the scheme of a link
    (`tel:+49…`). All other addresses, such as device tokens and paths, are stored as they are.

    Raises:
        ValueError: the value is not an address of this channel.
    """
    check_line(value)
    if channel == "email":
        return mailbox(value)
    if channel in PHONE_CHANNELS:
        scheme, number = _split_phone(value)
        return f"{scheme}{phone(number, region)}"
    return value


def normalise_sender(channel: str, value: str, region: str | None = None) -> str:
    """Return a sender in the form in which it is stored.

    As `normalise`, but names and short codes, which can send on phone channels, are unchanged.
    A name has letters, digits, spaces and `NAME_PUNCTUATION`.

    Raises:
        ValueError: the value is not a sender of this channel.
    """
    if channel in PHONE_CHANNELS:
        _, number = _split_phone(value)
        is_short_code = number.isdecimal() and len(number) <= MAX_SHORT_CODE_DIGITS
        if is_short_code or any(character.isalpha() for character in number):
            check_line(value)
            if not all(one.isalnum() or one in NAME_PUNCTUATION for one in number):
                raise ValueError(
                    "neither a phone number nor a sender name. A name has letters, digits, spaces"
                    f" and {NAME_PUNCTUATION.strip()} only."
                )
            return value
    return normalise(channel, value, region)


def _split_phone(value: str) -> tuple[str, str]:
    """Return the scheme of another network in lower case, with its colon, and the number."""
    schemes, _, number = value.rpartition(":")
    networks = [
        scheme
        for scheme in schemes.lower().replace(" ", "").split(":")
        if scheme and scheme not in LINK_SCHEMES
    ]
    return "".join(f"{scheme}:" for scheme in networks), number


def family(channel: str) -> str:
    """Return the channel family, within which channels share addresses: `phone` for SMS and MMS.

    The SQL function `channel_family` returns the same.
    """
    return "phone" if channel in PHONE_CHANNELS else channel


def key(channel: str, value: str) -> str:
    """Return the form in which normalised addresses are compared.

    For e-mail that is the bare address with its ASCII letters in lower case. The SQL function
    `address_key` returns the same; beyond ASCII, PostgreSQL and Python differ in lower case. It
    also leaves out the scheme of a link to a phone number, which older rows may have.

    Raises:
        ValueError: the value is not an e-mail address.
    """
    return email(value).translate(TO_LOWER) if channel == "email" else value


def check_line(value: object) -> None:
    """Check that a value is text that can be part of a header.

    Raises:
        ValueError: it is not text, or contains CR, LF or NUL.
    """
    if not isinstance(value, str):
        raise ValueError("must be text.")  # noqa: TRY004 - reported like every other problem
    if any(character in value for character in "\r\n\0"):
        raise ValueError("must not contain CR, LF or NUL.")
