"""Texts of a message's fields, made by templates of the settings (Jinja2, in its sandbox:
https://jinja.palletsprojects.com/en/stable/sandbox/).

Whoever writes the settings is trusted, the messages are not. A template sees plain values, none
of their methods and no function, and loops over nothing but what the message itself holds.
"""

import json
import re
from functools import partial
from typing import Annotated, Any
from urllib.parse import quote

from jinja2 import StrictUndefined, TemplateSyntaxError, UndefinedError, meta
from jinja2 import Template as JinjaTemplate
from jinja2.runtime import LoopContext
from jinja2.sandbox import ImmutableSandboxedEnvironment
from pydantic import AfterValidator

from connectors.base import OutboundMessage, Rejected

FIELDS = (
    "uid",
    "channel",
    "recipient",
    "sender",
    "cc",
    "bcc",
    "reply_to",
    "subject",
    "body",
    "html",
    "headers",
    "payload",
    "metadata",
    "reference",
)


class _Environment(ImmutableSandboxedEnvironment):
    """`metadata.items` is the key `items` of the metadata, and never a method of it."""

    def getattr(self, obj: Any, attribute: str) -> Any:
        return self.getitem(obj, attribute)

    def is_safe_attribute(self, obj: Any, attr: str, value: Any) -> bool:
        return isinstance(obj, LoopContext) and super().is_safe_attribute(obj, attr, value)


# HTML escaping would spoil URLs and JSON alike: each value is escaped for its place by a filter.
_environment = _Environment(
    undefined=StrictUndefined,
    autoescape=False,
    finalize=lambda value: "" if value is None else value,
)
_environment.globals.clear()
# Jinja's own leave the slash as it is, and write HTML escapes into JSON.
_environment.filters["urlencode"] = lambda value: quote(str(value), safe="")
# Where a value is missing, it is the call of `str` that says so.
_environment.filters["tojson"] = partial(json.dumps, default=str)


class Template:
    """A template of the setting called `setting`. Raises ValueError where it is none."""

    def __init__(self, source: str, setting: str, longest_characters: int) -> None:
        self._source = source
        self._template = _compiled(source)
        self._setting = setting
        self._longest_characters = longest_characters

    def render(self, fields: dict[str, Any]) -> str:
        """The text for the `fields_of` a message. Raises Rejected where it cannot be made, or
        would be longer than allowed."""
        parts = []
        room = self._longest_characters
        try:
            for part in self._template.generate(fields):
                parts.append(part)
                room -= len(part)
                if room < 0:
                    break
            text = "".join(parts)
            text.encode()  # half a surrogate pair has no bytes to send
        except UndefinedError as error:
            raise self.failed(self._missing(str(error.message))) from None
        except Exception as error:  # noqa: BLE001 - it may fail in any way, and for this message only
            raise self.failed(type(error).__name__) from None
        if room < 0:
            raise self.failed(f"longer than {self._longest_characters} characters")
        return text

    def _missing(self, said: str) -> str:
        """What a value is missing for. The name can be content where it was looked up by content;
        it is told only if the template itself spells it out."""
        name = re.search(r"'(\w+)'$", said)
        if name and re.search(rf"\b{name[1]}\b", self._source):
            return f"the message has no {name[1]}"
        return "a value is missing"

    def failed(self, why: str) -> Rejected:
        """The error of a message for which this template makes no usable text."""
        return Rejected("template", f"{self._setting}: {why}")


def fields_of(message: OutboundMessage) -> dict[str, Any]:
    """What templates know of a message."""
    return {name: getattr(message, name) for name in FIELDS}


def _compiled(source: str) -> JinjaTemplate:
    try:
        tree = _environment.parse(source)
        template = _environment.from_string(source)
    except TemplateSyntaxError as error:
        raise ValueError(f"line {error.lineno}: {error.message}") from None
    if unknown := sorted(meta.find_undeclared_variables(tree) - set(FIELDS)):
        raise ValueError(f"knows no {', '.join(unknown)}; there are: {', '.join(FIELDS)}")
    if any(meta.find_referenced_templates(tree)):
        raise ValueError("cannot use another template")
    return template


def _checked(source: str) -> str:
    _compiled(source)
    return source


TemplateText = Annotated[str, AfterValidator(_checked)]
