from datetime import UTC, datetime, timedelta

import pytest

from connectors.base import Misconfigured, Rejected, Unavailable
from connectors.toolkit.http.replies import Response, parse_retry_after, response_error

NOW = datetime(2026, 1, 2, 12, 0, 0, tzinfo=UTC)


def test_error_statuses_are_classified() -> None:
    rows = [
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
    ]
    failures = []
    for status, outcome in rows:
        error = response_error(Response(status, {}, b"why"))
        if (type(error), error.code, "why" in error.detail) != (outcome, str(status), True):
            failures.append((status, error))
    assert not failures


def test_only_unavailable_errors_carry_a_wait() -> None:
    rows = [(429, 7), (503, 7), (500, 7), (400, None)]
    failures = []
    for status, wait in rows:
        error = response_error(Response(status, {"Retry-After": "7"}))
        expected = timedelta(seconds=wait) if wait else None
        if getattr(error, "retry_after", None) != expected:
            failures.append((status, error))
    assert not failures


def test_retry_after_is_parsed_and_bounded() -> None:
    rows = [
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
    ]
    failures = []
    for header, seconds in rows:
        expected = None if seconds is None else timedelta(seconds=seconds)
        if (found := parse_retry_after(header, NOW)) != expected:
            failures.append((header, found))
    assert not failures


def test_any_body_is_decoded_to_storable_text() -> None:
    rows = [
        (None, "ё".encode(), "ё"),
        ("text/plain", b"\xff", "\ufffd"),
        ("text/plain; charset=windows-1251", "ё".encode("windows-1251"), "ё"),
        ("text/plain; charset=nonsense", "ё".encode(), "ё"),
        ("text/plain; charset=hex", b"61", "61"),
        ("text/plain; charset=utf-7", b"+2AA-", "\ufffd"),
        ("text/plain", b"a\x00b", "a\ufffdb"),
    ]
    failures = []
    for content_type, body, text in rows:
        headers = {} if content_type is None else {"Content-Type": content_type}
        found = Response(200, headers, body).text
        found.encode()
        if found != text:
            failures.append((content_type, body, found))
    assert not failures


def test_body_that_is_not_json_raises_value_error() -> None:
    for body in (b"", b"{", b"\xff", b"[" * 100_000):
        response = Response(200, {}, body)
        with pytest.raises(ValueError, match=r".*"):
            response.json()
        assert response.json_object() == {}


def test_json_object_is_empty_for_any_other_json() -> None:
    assert Response(200, {}, b'{"a": 1}').json_object() == {"a": 1}
    assert Response(200, {}, b"[1]").json_object() == {}
