"""Normalising and comparing addresses."""

from collections.abc import Callable

from app import addresses
from app.models import CHANNELS


def error_of(function: Callable[..., object], *arguments: object) -> str:
    """Return the text of the ValueError that a function raises, or an empty string."""
    try:
        function(*arguments)
    except ValueError as error:
        return str(error)
    return ""


def test_phone_number_becomes_e164() -> None:
    rows = [
        ("+4915112345678", None, "+4915112345678"),
        ("+49 (0)151 / 123-456-78", None, "+4915112345678"),
        ("0151 12345678", "DE", "+4915112345678"),
        ("0049 151 12345678", "DE", "+4915112345678"),
        ("+1 202 555 0143", "DE", "+12025550143"),
        ("+39 06 1234567", None, "+39061234567"),
    ]
    assert [(*row[:2], addresses.phone(*row[:2])) for row in rows] == rows
    assert [addresses.phone(number) for *_, number in rows] == [number for *_, number in rows]


def test_number_that_cannot_exist_is_rejected() -> None:
    invalid = {
        "": "international form",
        "Ann": "international form",
        "0151 12345678": "international form",
        "+4915": "not a possible phone number",
        "+49151123456789012345": "not a phone number",
        "+9991234567": "not a phone number",
        "+1 555 0143": "not a possible phone number",
    }
    errors = {value: error_of(addresses.phone, value) for value in invalid}
    assert {v: e for v, e in errors.items() if invalid[v] not in e} == {}


def test_email_address_is_stored_with_its_name_and_compared_without() -> None:
    rows = [
        ("ann@example.com", "ann@example.com", "ann@example.com"),
        ("<ann@example.com>", "ann@example.com", "ann@example.com"),
        ("Ann@EXAMPLE.com", "Ann@example.com", "Ann@example.com"),
        ("Ann <ann@example.com>", "ann@example.com", "Ann <ann@example.com>"),
        ("Änn Ö <ann@example.com>", "ann@example.com", "Änn Ö <ann@example.com>"),
        ('"Ö, Ann" <ann@example.com>', "ann@example.com", '"Ö, Ann" <ann@example.com>'),
        ('"A \\"B\\" C" <ann@example.com>', "ann@example.com", '"A \\"B\\" C" <ann@example.com>'),
        ("jösé@exämple.com", "jösé@exämple.com", "jösé@exämple.com"),
        ("José <jösé@exämple.com>", "jösé@exämple.com", "José <jösé@exämple.com>"),
        ("ann+tag@example.com", "ann+tag@example.com", "ann+tag@example.com"),
    ]
    found = [(text, addresses.email(text), addresses.mailbox(text)) for text, *_ in rows]
    assert found == rows
    assert [addresses.mailbox(mailbox) for *_, mailbox in rows] == [m for *_, m in rows]


def test_value_that_is_not_exactly_one_email_address_is_rejected() -> None:
    invalid = [
        "",
        "ann",
        "ann@",
        "@example.com",
        "ann@localhost",
        "ann@exam ple.com",
        "ann@exa\u2028mple.com",
        "Ann <>",
        "Ann <ann@example.com",
        "ann@example.com, bob@example.com",
        "Ann <ann@example.com>, bob@example.com",
        "friends: ann@example.com;",
        "(ann) ann@example.com",
        "ann@example.com trailing",
        "ann@bob@example.com",
        '"ann bob"@example.com',
        "ann@example.com\0",
    ]
    accepted = [
        (value, read.__name__)
        for value in invalid
        for read in (addresses.email, addresses.mailbox)
        if not error_of(read, value).startswith("not an e-mail address: ")
    ]
    assert not accepted


def test_each_channel_normalises_its_own_kind_of_address() -> None:
    rows = [
        ("sms", "0151 12345678", "+4915112345678"),
        ("mms", "+49 151 12345678", "+4915112345678"),
        ("sms", "whatsapp:+49 151 12345678", "whatsapp:+4915112345678"),
        ("sms", "WhatsApp: +49 151 12345678", "whatsapp:+4915112345678"),
        ("sms", "tel:+4915112345678", "+4915112345678"),
        ("mms", "TEL:+49-151-12345678", "+4915112345678"),
        ("sms", "smsto:0151 12345678", "+4915112345678"),
        ("sms", "tel:tel:+4915112345678", "+4915112345678"),
        ("email", "Ann <ann@EXAMPLE.com>", "Ann <ann@example.com>"),
        ("push", "dK3:APA91-token", "dK3:APA91-token"),
        ("payment", "ORDER 17", "ORDER 17"),
        ("http", "/hooks/{id}?a=b", "/hooks/{id}?a=b"),
    ]
    assert [(*row[:2], addresses.normalise(*row[:2], "DE")) for row in rows] == rows
    assert [(*row[:2], addresses.normalise_sender(*row[:2], "DE")) for row in rows] == rows


def test_name_or_short_code_can_send_but_not_receive() -> None:
    for channel in ("sms", "mms"):
        for value in (
            "ACME",
            "Shop 24",
            "Müller & Söhne",
            "T-Bank.ru",
            "72727",
            "12345678",
            "whatsapp:ACME",
        ):
            assert addresses.normalise_sender(channel, value) == value
            assert "phone number" in error_of(addresses.normalise, channel, value)
        for value in (
            "nobody@",
            "@",
            "a@b.example",
            "ACME <1>",
            "ACME\t",
            "ACME\u200b",
            "a:@b",
            " ",
        ):
            assert "phone number" in error_of(addresses.normalise_sender, channel, value), value


def test_no_address_can_end_a_header() -> None:
    accepted = [
        (channel, character, read.__name__)
        for channel in CHANNELS
        for character in "\r\n\0"
        for read in (addresses.normalise, addresses.normalise_sender)
        if error_of(read, channel, f"ACME{character}Bcc: eve@example.com")
        != "must not contain CR, LF or NUL."
    ]
    assert not accepted
    errors = {error_of(addresses.check_line, value) for value in (None, 1, ["a"], {})}
    assert errors == {"must be text."}
