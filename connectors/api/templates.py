"""Templates in the settings that render a message's fields (Jinja2).

Settings are trusted, messages are not, so templates run in Jinja's sandbox
(https://jinja.palletsprojects.com/en/stable/sandbox/). A template can read plain values only, not
their methods, cannot call functions, and can loop only over values from the message.
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
    """A sandbox in which `metadata.items` is the key `items`, never the method."""

    def getattr(self, obj: Any, attribute: str) -> Any:
        return self.getitem(obj, attribute)

    def is_safe_attribute(self, obj: Any, attr: str, value: Any) -> bool:
        return isinstance(obj, LoopContext) and super().is_safe_attribute(obj, attr, value)


# No automatic HTML escaping: it would break URLs and JSON. Templates escape values with filters.
_environment = _Environment(
    undefined=StrictUndefined,
    autoescape=False,
    finalize=lambda value: "" if value is None else value,
)
_environment.globals.clear()
# Jinja's own filters leave slashes unescaped in URLs and add HTML escapes to JSON.
_environment.filters["urlencode"] = lambda value: quote(str(value), safe="")
# For a missing value, json.dumps calls `str`, which raises UndefinedError.
_environment.filters["tojson"] = partial(json.dumps, default=str)


class Template:
    """A compiled template.

    Args:
        source: The template's text.
        setting: The name of the setting it comes from, for error messages.
        max_characters: The maximum length of a rendered text.

    Raises:
        ValueError: The template is invalid.
    """

    def __init__(self, source: str, setting: str, max_characters: int) -> None:
        self._source = source
        self._template = _compile(source)
        self._setting = setting
        self._max_characters = max_characters

    def render(self, message: OutboundMessage) -> str:
        """Render the template for a message.

        Raises:
            Rejected: Rendering failed, or the result is too long.
        """
        parts = []
        capacity = self._max_characters
        try:
            for part in self._template.generate({name: getattr(message, name) for name in FIELDS}):
                parts.append(part)
                capacity -= len(part)
                if capacity < 0:
                    break
            text = "".join(parts)
            text.encode()  # fails for lone surrogates, which cannot be sent
        except UndefinedError as error:
            raise self.error(self._describe_missing(str(error.message))) from None
        except Exception as error:  # noqa: BLE001 - any failure concerns this message only
            raise self.error(type(error).__name__) from None
        if capacity < 0:
            raise self.error(f"the result is longer than {self._max_characters} characters")
        return text

    def _describe_missing(self, text: str) -> str:
        """Name the missing value, unless its name comes from the message's content."""
        name = re.search(r"'(\w+)'$", text)
        if name and re.search(rf"\b{name[1]}\b", self._source):
            return f"the message has no {name[1]}"
        return "the message lacks a value"

    def error(self, reason: str) -> Rejected:
        """Return the error for a message that this template cannot be used for."""
        return Rejected("template", f"{self._setting}: {reason}")


def _compile(source: str) -> JinjaTemplate:
    try:
        tree = _environment.parse(source)
        template = _environment.from_string(source)
    except TemplateSyntaxError as error:
        raise ValueError(f"line {error.lineno}: {error.message}") from None
    if unknown := sorted(meta.find_undeclared_variables(tree) - set(FIELDS)):
        raise ValueError(f"unknown name: {', '.join(unknown)}. Use one of: {', '.join(FIELDS)}")
    if any(meta.find_referenced_templates(tree)):
        raise ValueError("cannot use other templates. Write the whole template into this setting.")
    return template


def _validate(source: str) -> str:
    _compile(source)
    return source


TemplateText = Annotated[str, AfterValidator(_validate)]
