"""Addresses take one form, and what is not exactly one address is refused."""

import pytest

from app import addresses


@pytest.mark.parametrize(
    ("value", "region", "kept"),
    [
        ("+4915112345678", None, "+4915112345678"),
        ("+49 (0)151 / 123-456-78", None, "+4915112345678"),
        ("0151 12345678", "DE", "+4915112345678"),
        ("0049 151 12345678", "DE", "+4915112345678"),
        ("+1 202 555 0143", "DE", "+12025550143"),
        ("+39 06 1234567", None, "+39061234567"),
    ],
)
def test_a_phone_number_becomes_e164(value: str, region: str | None, kept: str) -> None:
    assert addresses.phone(value, region) == kept
    assert addresses.phone(kept) == kept


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        ("", "not a phone number"),
        ("Ann", "not a phone number"),
        ("0151 12345678", "international form"),
        ("+4915", "not a possible phone number"),
        ("+49151123456789012345", "not a phone number|not a possible phone number"),
        ("+9991234567", "not a phone number|not a possible phone number"),
        ("+1 555 0143", "not a possible phone number"),
    ],
)
def test_what_no_phone_can_be_reached_at_is_refused(value: str, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        addresses.phone(value)


@pytest.mark.parametrize(
    ("value", "bare", "mailbox"),
    [
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
    ],
)
def test_an_email_address_is_kept_with_its_name_and_known_without(
    value: str, bare: str, mailbox: str
) -> None:
    assert addresses.email(value) == bare
    assert addresses.mailbox(value) == mailbox
    assert addresses.mailbox(mailbox) == mailbox


@pytest.mark.parametrize(
    "value",
    [
        "",
        "ann",
        "ann@",
        "@example.com",
        "ann@localhost",
        "ann@exam ple.com",
        "Ann <>",
        "Ann <ann@example.com",
        "ann@example.com, bob@example.com",
        "Ann <ann@example.com>, bob@example.com",
        "friends: ann@example.com;",
        "(ann) ann@example.com",
        "ann@example.com trailing",
        "ann@bob@example.com",
        '"ann bob"@example.com',
        "ann\0@example.com",
    ],
)
def test_what_is_not_exactly_one_email_address_is_refused(value: str) -> None:
    for read in (addresses.email, addresses.mailbox):
        with pytest.raises(ValueError, match=r"^not "):
            read(value)


@pytest.mark.parametrize(
    ("channel", "value", "kept"),
    [
        ("sms", "0151 12345678", "+4915112345678"),
        ("mms", "+49 151 12345678", "+4915112345678"),
        ("sms", "whatsapp:+49 151 12345678", "whatsapp:+4915112345678"),
        ("email", "Ann <ann@EXAMPLE.com>", "Ann <ann@example.com>"),
        ("push", "dK3:APA91-token", "dK3:APA91-token"),
        ("payment", "ORDER 17", "ORDER 17"),
        ("http", "/hooks/{id}?a=b", "/hooks/{id}?a=b"),
    ],
)
def test_each_channel_keeps_its_own_kind_of_recipient(channel: str, value: str, kept: str) -> None:
    assert addresses.normalise(channel, value, "DE") == kept
    assert addresses.normalise_sender(channel, value, "DE") == kept


@pytest.mark.parametrize("channel", ["sms", "mms"])
@pytest.mark.parametrize("value", ["ACME", "Shop 24", "72727", "12345678", "whatsapp:ACME"])
def test_a_name_or_a_short_code_can_send_but_not_receive(channel: str, value: str) -> None:
    assert addresses.normalise_sender(channel, value) == value
    with pytest.raises(ValueError, match="phone number"):
        addresses.normalise(channel, value)


@pytest.mark.parametrize("channel", ["email", "sms", "mms", "push", "payment", "http"])
@pytest.mark.parametrize("character", ["\r", "\n", "\0"])
def test_no_address_can_end_a_header(channel: str, character: str) -> None:
    for read in (addresses.normalise, addresses.normalise_sender):
        with pytest.raises(ValueError, match="must not contain CR, LF or NUL"):
            read(channel, f"ACME{character}Bcc: eve@example.com")


@pytest.mark.parametrize("value", [None, 1, ["a"], {}])
def test_only_a_text_is_a_line(value: object) -> None:
    with pytest.raises(ValueError, match="texts and nothing else"):
        addresses.check_line(value)
