from typing import Any

from connectors.toolkit.excerpts import excerpt, message_id


def test_excerpt_is_short_printable_and_redacted() -> None:
    rows = [
        ("  plain  ", [], "plain"),
        ("two\r\nlines\x00\x1b[31mred\u202e", [], "two lines [31mred"),
        ("x" * 201, [], "x" * 199 + "…"),
        ("x" * 200, [], "x" * 200),
        ("bad key s3cret!", ["s3cret"], "bad key ***!"),
        ("BAD KEY S3CRET", ["s3cret"], "BAD KEY ***"),
        ("no +12015550123 or 12015550123", ["+12015550123"], "no +*** or ***"),
        ('{"echo": "say \\"\\u0451\\""}', ['say "ё"'], '{"echo": "***"}'),
        ('{"echo": "say \\"ё\\""}', ['say "ё"'], '{"echo": "***"}'),
        ("ab abc", ["ab", "abc"], "*** ***"),
        ("nothing to hide", ["", None], "nothing to hide"),
        ("x" * 197 + "s3cret", ["s3cret"], "x" * 197 + "***"),
        ("a.c abc", ["a.c"], "*** abc"),
        ("<a>1 &lt; 2 &amp; &#x27;3&#x27;</a>", ["1 < 2 & '3'"], "<a>***</a>"),
        ("<a>1 &lt; 2 &amp; '3'</a>", ["1 < 2 & '3'"], "<a>***</a>"),
        (f"no {'long ' * 400}text", ["long " * 400], "no ***text"),
        ("short", ["a very long text " * 1_000_000], "short"),
    ]
    failures = []
    for text, hide, shown in rows:
        if (found := excerpt(text, hide)) != shown:
            failures.append((text[:300], found))
    assert not failures


def test_message_id_is_short_printable_text() -> None:
    rows: list[tuple[Any, str | None]] = [
        ("SM1", "SM1"),
        (7, "7"),
        (" a\r\nb ", "a b"),
        ("x" * 300, "x" * 255),
        ("", None),
        ("\n", None),
        (None, None),
        (True, None),
        (1.5, None),
        (["SM1"], None),
    ]
    failures = []
    for value, expected in rows:
        if (found := message_id(value)) != expected:
            failures.append((value, found))
    assert not failures
