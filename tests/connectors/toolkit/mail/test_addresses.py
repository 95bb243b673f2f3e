import pytest

from connectors.toolkit.mail.addresses import parse_mailbox


def test_mailbox_is_parsed_into_name_and_address() -> None:
    rows = [
        ("a@example.com", "", "a@example.com"),
        ("Ann Lee <a@example.com>", "Ann Lee", "a@example.com"),
        ('"Lee, Ann \\"A\\"" <a+b@example.com>', 'Lee, Ann "A"', "a+b@example.com"),
        ("<a@example.com>", "", "a@example.com"),
        ("Ännchen <ä@Bücher.example>", "Ännchen", "ä@xn--bcher-kva.example"),
    ]
    failures = []
    for text, name, address in rows:
        mailbox = parse_mailbox(text)
        if (mailbox.display_name, mailbox.addr_spec) != (name, address):
            failures.append((text, mailbox))
    assert not failures


def test_text_that_is_not_one_address_is_rejected() -> None:
    rows = [
        "",
        "ann",
        "ann@",
        "@example.com",
        "a@example.com, b@example.com",
        "group: a@example.com;",
        "a@example.com (comment)",
        '"a>b"@example.com',
        "<a@example.com",
        "a@example.com\r\nBcc: b@example.com",
        "a@exa mple.com",
        "a@-example.com",
        f"a@{'x' * 64}.com",
    ]
    for text in rows:
        with pytest.raises(ValueError, match="address"):
            parse_mailbox(text)
