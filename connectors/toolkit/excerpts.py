"""Short, safe texts for logs and records, made from what a provider sends."""

import html
import json
import re
from collections.abc import Iterable

MAX_EXCERPT = 200
MAX_MESSAGE_ID = 255
# Comparing long values without regard to case takes too long.
MAX_IGNORING_CASE = 1000


def printable(text: str) -> str:
    """Return the text with each run of control and other unprintable characters as one space."""
    return " ".join("".join(c if c.isprintable() else " " for c in text).split())


def excerpt(text: str, hide: Iterable[str | None] = ()) -> str:
    """Return the beginning of a provider's text as one line of at most 200 characters.

    Args:
        text: The provider's text.
        hide: The values to replace with `***`: secrets, the recipient, the message's content.
    """
    # A value longer than the text cannot occur in it, and searching for one takes long.
    values = [value for value in hide if value and len(value) <= len(text)]
    forms = {form for value in values for form in _forms(value)}
    for form in sorted(forms, key=len, reverse=True):
        if len(form) > MAX_IGNORING_CASE:
            text = text.replace(form, "***")
        else:
            text = re.sub(re.escape(form), "***", text, flags=re.IGNORECASE)
    text = printable(text)
    return text if len(text) <= MAX_EXCERPT else text[: MAX_EXCERPT - 1] + "…"


def message_id(value: object) -> str | None:
    """Return a provider's message id, a JSON string or number, as text of at most 255 characters.

    None if the value is anything else or empty.
    """
    if isinstance(value, bool) or not isinstance(value, str | int):
        return None
    return printable(str(value))[:MAX_MESSAGE_ID] or None


def _forms(value: str) -> set[str]:
    """Return the forms in which a provider may quote a value.

    They are the value itself, as in JSON, as in XML or HTML, each without the plus of a number.
    """
    bare = value.removeprefix("+") or value
    in_json = {json.dumps(bare)[1:-1], json.dumps(bare, ensure_ascii=False)[1:-1]}
    return {bare, *in_json, html.escape(bare), html.escape(bare, quote=False)}
