from datetime import UTC, datetime, timedelta

import pytest

from connectors.base import Misconfigured, Rejected, Unavailable
from connectors.toolkit.excerpts import excerpt
from connectors.toolkit.http.replies import Response, parse_retry_after, response_error

NOW = datetime(2026, 1, 2, 12, 0, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("status", "outcome"),
    [
        (204, Rejected),
        (301, Misconfigured),
        (304, Misconfigured),
        (307, Misconfigured),
        (308, Misconfigured),
        (400, Rejected),
        (401, Misconfigured),
        (402, Rejected),
        (403, Misconfigured),
        (404, Rejected),
        (407, Misconfigured),
        (408, Unavailable),
        (409, Rejected),
        (410, Rejected),
        (413, Rejected),
        (422, Rejected),
        (425, Unavailable),
        (429, Unavailable),
        (451, Rejected),
        (500, Unavailable),
        (501, Unavailable),
        (502, Unavailable),
        (503, Unavailable),
        (504, Unavailable),
        (511, Unavailable),
        (599, Unavailable),
        (600, Rejected),
        (999, Rejected),
    ],
)
def test_error_statuses_are_classified(status, outcome):
    error = response_error(Response(status, {}, b"why"))

    assert type(error) is outcome
    assert error.code == str(status)
    assert "why" in error.detail


@pytest.mark.parametrize(("status", "wait"), [(429, 7), (503, 7), (500, 7), (400, None)])
def test_only_unavailable_errors_carry_a_wait(status, wait):
    error = response_error(Response(status, {"Retry-After": "7"}))

    expected = timedelta(seconds=wait) if wait else None
    assert getattr(error, "retry_after", None) == expected


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        (None, None),
        ("", None),
        ("soon", None),
        ("1.5", None),
        ("nan", None),
        ("Fri, 31 Dec 99999 23:59:59 GMT", None),
        ("9" * 5000, None),
        ("0", 0),
        (" 120 ", 120),
        ("-120", 0),
        ("86401", 86400),
        ("9" * 100, 86400),
        ("Fri, 02 Jan 2026 12:01:30 GMT", 90),
        ("Fri, 02 Jan 2026 12:01:30 -0000", 90),
        ("Fri, 02 Jan 2026 14:01:30 +0200", 90),
        ("Friday, 02-Jan-26 12:01:30 GMT", 90),
        ("Fri Jan  2 12:01:30 2026", 90),
        ("Thu, 01 Jan 1970 00:00:00 GMT", 0),
        ("Fri, 31 Dec 9999 23:59:59 GMT", 86400),
    ],
)
def test_retry_after_is_parsed_and_bounded(header, seconds):
    expected = None if seconds is None else timedelta(seconds=seconds)

    assert parse_retry_after(header, NOW) == expected


@pytest.mark.parametrize(
    ("text", "hide", "shown"),
    [
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
    ],
)
def test_excerpt_is_short_printable_and_redacted(text, hide, shown):
    assert excerpt(text, hide) == shown


@pytest.mark.parametrize(
    ("content_type", "body", "text"),
    [
        (None, "ё".encode(), "ё"),
        ("text/plain", b"\xff", "\ufffd"),
        ("text/plain; charset=windows-1251", "ё".encode("windows-1251"), "ё"),
        ("text/plain; charset=nonsense", "ё".encode(), "ё"),
        ("text/plain; charset=hex", b"61", "61"),
        ("text/plain; charset=utf-7", b"+2AA-", "\ufffd"),
        ("text/plain", b"a\x00b", "a\ufffdb"),
    ],
)
def test_any_body_is_decoded_to_storable_text(content_type, body, text):
    headers = {} if content_type is None else {"Content-Type": content_type}

    response = Response(200, headers, body)

    assert response.text == text
    response.text.encode()


@pytest.mark.parametrize("body", [b"", b"{", b"\xff", b"[" * 100_000], ids=["", "{", "ff", "deep"])
def test_body_that_is_not_json_raises_value_error(body):
    with pytest.raises(ValueError, match=r".*"):
        Response(200, {}, body).json()
