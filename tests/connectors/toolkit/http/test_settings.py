from typing import Any

import pytest
from pydantic import TypeAdapter, ValidationError

from connectors.toolkit.http import (
    BaseUrl,
    HeaderName,
    HeaderSecret,
    HttpSettings,
    HttpUrl,
    is_header,
)


def is_valid(kind: Any, value: str) -> bool:
    try:
        TypeAdapter(kind).validate_python(value)
    except ValidationError:
        return False
    return True


def test_urls_headers_and_secrets_are_checked() -> None:
    rows = [
        (HttpUrl, "http://host", True),
        (HttpUrl, "https://host:8443/a%20b?c=d", True),
        (HttpUrl, "http://[::1]/", True),
        (HttpUrl, "host/path", False),
        (HttpUrl, "ftp://host/", False),
        (HttpUrl, "http:///path", False),
        (HttpUrl, "http://user@host/", False),
        (HttpUrl, "http://:password@host/", False),
        (HttpUrl, "http://host/#fragment", False),
        (HttpUrl, "http://host/a b", False),
        (HttpUrl, "http://host/a\\b", False),
        (HttpUrl, "http://host/ё", False),
        (HttpUrl, "http://host/a\n", False),
        (HttpUrl, "http://host:0/", False),
        (HttpUrl, "http://host:99999/", False),
        (BaseUrl, "http://host/api/", True),
        (BaseUrl, "http://host/?a=1", False),
        (HeaderName, "X-Key", True),
        (HeaderName, "X Key", False),
        (HeaderName, "", False),
        (HeaderSecret, "s3cret", True),
        (HeaderSecret, "s3cret\r\n", False),
        (HeaderSecret, " s3cret", False),
        (HeaderSecret, "s3crёt", False),
    ]
    failures = [row for row in rows if is_valid(row[0], row[1]) is not row[2]]
    assert not failures


def test_base_url_loses_its_trailing_slash() -> None:
    assert TypeAdapter(BaseUrl).validate_python("http://host/api/") == "http://host/api"


def test_header_needs_a_valid_name_and_value() -> None:
    assert is_header("X-Key", "a b")
    for name, value in (("X Key", "a"), ("X-Key", "a\r\nb"), ("X-Key", " a"), ("X-Key", "ё")):
        assert not is_header(name, value)


def test_total_timeout_is_not_less_than_the_other_timeouts() -> None:
    for settings in ({"total_timeout_seconds": 10}, {"connect_timeout_seconds": 31}):
        with pytest.raises(ValidationError, match="total_timeout_seconds"):
            HttpSettings(**settings)
