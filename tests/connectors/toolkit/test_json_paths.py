from typing import Any

import pytest
from pydantic import TypeAdapter, ValidationError

from connectors.toolkit.json_paths import JsonPath, first, select

DOCUMENT = {"a": {"b": [1, 2]}, "c": None}


def test_path_selects_values_in_order() -> None:
    rows: list[tuple[str | None, list[Any], Any]] = [
        ("$.a.b[*]", [1, 2], 1),
        ("$.c", [None], None),
        ("$.x", [], None),
        (None, [], None),
    ]
    failures = []
    for path, values, value in rows:
        if (select(path, DOCUMENT), first(path, DOCUMENT)) != (values, value):
            failures.append((path, select(path, DOCUMENT)))
    assert not failures


def test_valid_path_is_accepted() -> None:
    assert TypeAdapter(JsonPath).validate_python("$.a.b[0]") == "$.a.b[0]"


def test_document_nested_too_deeply_selects_nothing() -> None:
    document: Any = 1
    for _ in range(5000):
        document = [document]
    assert select("$..b", document) == []


def test_invalid_path_is_rejected() -> None:
    for path in ("", "a", "$[", "$.a["):
        with pytest.raises(ValidationError, match="not a valid JSONPath"):
            TypeAdapter(JsonPath).validate_python(path)
