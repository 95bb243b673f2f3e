"""Addresses as people write them, turned into the one form that Postroom keeps."""

from email.headerregistry import Address
from string import ascii_lowercase, ascii_uppercase

import phonenumbers
from email_validator import ValidatedEmail, validate_email

from connectors.toolkit.mail import mime

PHONE_CHANNELS = frozenset({"sms", "mms"})
MAX_SHORT_CODE = 8
TO_LOWER = str.maketrans(ascii_uppercase, ascii_lowercase)


def phone(value: str, region: str | None = None) -> str:
    """`value` in E.164, e.g. +4915112345678.

    `region` (ISO 3166, e.g. DE) is assumed where the number has no country code. Raises
    ValueError saying what is wrong.
    """
    try:
        number = phonenumbers.parse(value, region)
    except phonenumbers.NumberParseException as error:
        raise ValueError(
            f"not a phone number in international form, like +4915112345678: {error}"
        ) from None
    # Local numbers, which lack their area code, are "possible" too, but nobody can be reached so.
    reason = phonenumbers.is_possible_number_with_reason(number)
    if reason != phonenumbers.ValidationResult.IS_POSSIBLE:
        raise ValueError("not a possible phone number: too short, too long, or no such country")
    return phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164)


def email(value: str) -> str:
    """The bare address in `value`, which may carry a display name; its domain in lower case.

    Raises ValueError saying what is wrong.
    """
    return _parsed(value)[1].normalized


def mailbox(value: str) -> str:
    """As `email`, but the display name is kept: `Ann <ann@example.com>`."""
    name, address = _parsed(value)
    if not name:
        return address.normalized
    return str(Address(name, username=address.local_part, domain=address.domain))


def _parsed(value: str) -> tuple[str, ValidatedEmail]:
    """The display name and the address of `value`, which holds one address and nothing else."""
    try:
        found = mime.mailbox(value)
        bare = f"{found.username}@{found.domain}"
        return found.display_name, validate_email(bare, check_deliverability=False)
    except ValueError as error:
        raise ValueError(f"not an e-mail address: {error}") from None


def normalise(channel: str, value: str, region: str | None = None) -> str:
    """The recipient `value` of a message on `channel` in the form that is kept.

    Only phone numbers and e-mail addresses have one, also behind the scheme of another network
    that a telephone channel carries (`whatsapp:+49…`); device tokens, paths and order numbers
    stay as they are. Raises ValueError saying what is wrong.
    """
    check_line(value)
    if channel == "email":
        return mailbox(value)
    if channel in PHONE_CHANNELS:
        scheme, colon, number = value.rpartition(":")
        return f"{scheme}{colon}{phone(number, region)}"
    return value


def normalise_sender(channel: str, value: str, region: str | None = None) -> str:
    """As `normalise`, for the sender: telephone channels have names and short codes beside
    numbers, and those stay as they are."""
    if channel in PHONE_CHANNELS:
        number = value.rpartition(":")[2]
        short = number.isdecimal() and len(number) <= MAX_SHORT_CODE
        if short or any(character.isalpha() for character in number):
            check_line(value)
            return value
    return normalise(channel, value, region)


def family(channel: str) -> str:
    """The channels that share their addresses: `sms` and `mms` are both `phone`.

    PostgreSQL has it as the function `channel_family`.
    """
    return "phone" if channel in PHONE_CHANNELS else channel


def key(channel: str, value: str) -> str:
    """The normalised `value` as it is compared with others: of an e-mail the bare address, its
    ASCII letters in lower case. Raises ValueError where that is none.

    PostgreSQL has it as the function `address_key`; only of ASCII both know one lower case.
    """
    return email(value).translate(TO_LOWER) if channel == "email" else value


def check_line(value: object) -> None:
    """Raises ValueError where `value` is no text, or none that can be a part of a header."""
    if not isinstance(value, str):
        raise ValueError("must hold texts and nothing else")  # noqa: TRY004 - as every other fault
    if any(character in value for character in "\r\n\0"):
        raise ValueError("must not contain CR, LF or NUL")
