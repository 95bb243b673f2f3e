"""What comes from outside, as PostgreSQL can hold it."""

import re
from typing import Any

_NOT_STORABLE = re.compile("[\0\ud800-\udfff]")


def storable(value: Any) -> Any:
    """`value`, a text or made of what JSON knows, with each NUL and lone surrogate in its texts as
    U+FFFD."""
    if isinstance(value, str):
        return _NOT_STORABLE.sub("\N{REPLACEMENT CHARACTER}", value)
    if isinstance(value, dict):
        return {storable(str(key)): storable(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [storable(inner) for inner in value]
    return value
