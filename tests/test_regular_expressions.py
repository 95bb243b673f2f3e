"""Every regular expression takes linear time, whatever text it is applied to.

The texts are derived from the expressions: parts of a matching example are repeated, after the
parts before them and before a character that ends the match.
"""

import ast
import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

ROOT = Path(__file__).parent.parent
PACKAGES = ("app", "connectors", "tasks")
OPERATORS_OWN = {"app/agents/registry.py", "app/local/supervisor.py"}
"""These apply expressions to the operator's own files only."""
SEARCHES = {"search", "sub", "subn", "split", "findall", "finditer"}
METHODS = {*SEARCHES, "match", "fullmatch"}

SIZES = (100, 1000, 10_000)
MAX_GROWTH = 40
"""For ten times the size. Linear time grows by 10, quadratic time by 100."""
MIN_SECONDS = 0.002
"""What takes less is too short to be measured."""


class Use(NamedTuple):
    """A regular expression and how it is applied: by `search`, `match` or `fullmatch`."""

    pattern: "re.Pattern[Any]"
    method: str


def uses(source: str) -> Iterator[Use]:
    """Return the uses of constant regular expressions in a module."""
    tree = ast.parse(source)
    methods: dict[str, set[str]] = {}
    for node in ast.walk(tree):
        match node:
            case ast.Attribute(ast.Name(name), method) if name != "re" and method in METHODS:
                methods.setdefault(name, set()).add(method)
    for node in ast.walk(tree):
        match node:
            case ast.Assign([ast.Name(name)], ast.Call(ast.Attribute(ast.Name("re"), "compile"))):
                pattern = eval(ast.unparse(node.value), {"re": re})
                for method in methods.get(name, {"search"}):
                    yield Use(pattern, "search" if method in SEARCHES else method)
            case ast.Call(ast.Attribute(ast.Name("re"), method), [ast.Constant(text), *_]) if (
                method in METHODS
            ):
                flags = next((word.value for word in node.keywords if word.arg == "flags"), None)
                if method in {"match", "fullmatch", "search"} and len(node.args) > 2:
                    flags = node.args[2]
                value = eval(ast.unparse(flags), {"re": re}) if flags else 0
                pattern = re.compile(text, value)
                yield Use(pattern, "search" if method in SEARCHES else method)


CATEGORIES = {
    "CATEGORY_DIGIT": r"\d",
    "CATEGORY_NOT_DIGIT": r"\D",
    "CATEGORY_SPACE": r"\s",
    "CATEGORY_NOT_SPACE": r"\S",
    "CATEGORY_WORD": r"\w",
    "CATEGORY_NOT_WORD": r"\W",
}


def texts(pattern: "re.Pattern[Any]") -> set[tuple[str, str]]:
    """Return texts that an expression may be slow on: a beginning, and what to repeat after it."""
    parsed = re._parser.parse(  # type: ignore[attr-defined]
        pattern.pattern, pattern.flags
    )
    found: set[tuple[str, str]] = set()
    for branch in (0, -1):
        _example(parsed, branch, found)
    return {(head, pump) for head, pump in found if pump}


def _example(items: Any, branch: int, found: set[tuple[str, str]]) -> str:
    """Return a text that the items of an expression match; add its parts to `found`."""
    parts = [_part(str(operator), argument, branch, found) for operator, argument in items]
    for start in range(len(parts)):
        for end in range(start + 1, len(parts) + 1):
            found.add(("".join(parts[:start]), "".join(parts[start:end])))
    return "".join(parts)


def _part(operator: str, argument: Any, branch: int, found: set[tuple[str, str]]) -> str:  # noqa: PLR0911
    match operator:
        case "LITERAL":
            return chr(argument)
        case "NOT_LITERAL":
            return _member([("NEGATE", None), ("LITERAL", argument)])
        case "ANY":
            return "a"
        case "IN":
            return _member(argument)
        case "MAX_REPEAT" | "MIN_REPEAT" | "POSSESSIVE_REPEAT":
            minimum, _, items = argument
            return _example(items, branch, found) * max(1, minimum)
        case "SUBPATTERN" | "ATOMIC_GROUP":
            return _example(argument[3] if operator == "SUBPATTERN" else argument, branch, found)
        case "BRANCH":
            return [_example(items, branch, found) for items in argument[1]][branch]
        case "GROUPREF_EXISTS":
            return "".join(_example(items, branch, found) for items in argument[1:] if items)
    return ""  # an assertion


def _member(choices: Any) -> str:
    """Return a character of a class."""
    for character in "a <>@\n0!/;:,.-=?\"'\\\t\r()[]{}":
        if _has(choices, character):
            return character
    operator, argument = choices[-1]
    return chr(argument[0] if str(operator) == "RANGE" else argument)


def _has(choices: Any, character: str) -> bool:
    is_negated = str(choices[0][0]) == "NEGATE"
    for operator, argument in choices[is_negated:]:
        match str(operator):
            case "LITERAL":
                is_found = argument == ord(character)
            case "RANGE":
                is_found = argument[0] <= ord(character) <= argument[1]
            case _:
                is_found = bool(re.fullmatch(CATEGORIES[str(argument)], character))
        if is_found:
            return not is_negated
    return is_negated


def seconds(use: Use, head: str, pump: str, tail: str, size: int) -> float:
    """Return the CPU time that an expression takes on a text of this size."""
    text: str | bytes = head + pump * (size // len(pump)) + tail
    if isinstance(use.pattern.pattern, bytes):
        text = text.encode("latin-1", "replace")
    best = float("inf")
    for _ in range(3):
        started = time.thread_time()
        if use.method == "search":
            for _ in use.pattern.finditer(text):
                pass
        else:
            getattr(use.pattern, use.method)(text)
        best = min(best, time.thread_time() - started)
        if best < MIN_SECONDS:
            break
    return best


def slow_text(use: Use) -> str | None:
    """Return a text on which the time of an expression grows faster than its length."""
    for head, pump in sorted(texts(use.pattern)):
        for tail in ("", "\0"):
            before = seconds(use, head, pump, tail, SIZES[0])
            for size in SIZES[1:]:
                after = seconds(use, head, pump, tail, size)
                if after > MAX_GROWTH * max(before, MIN_SECONDS / MAX_GROWTH):
                    return f"{head!r} + {pump!r} * {size // len(pump)} + {tail!r}"
                before = after
    return None


def test_slow_expressions_are_found() -> None:
    slow = [
        r"(?:<[a-z]|z)[^>]*>",
        r"(?:a[^:]*|b)\s*:",
        r"\[[^\]]*\]\(x:([^)?]*)[^)]*\)",
        r"[\r\n]+(?=[ \t])",
    ]
    linear = [r"<[a-z][^<>]*>", r"[\r\n]", r'(?:"(?:[^"\\]|\\.)*"\s*|a*)<']
    assert all(slow_text(Use(re.compile(pattern), "search")) for pattern in slow)
    assert not any(slow_text(Use(re.compile(pattern), "match")) for pattern in linear)


def test_regular_expressions_take_linear_time() -> None:
    failures = []
    count = 0
    for package in PACKAGES:
        for path in sorted((ROOT / package).rglob("*.py")):
            name = str(path.relative_to(ROOT))
            for use in uses(path.read_text()) if name not in OPERATORS_OWN else ():
                count += 1
                if text := slow_text(use):
                    failures.append(f"{name}: {use.pattern.pattern!r} on {text}")
    assert not failures, "\n".join(failures)
    assert count > 50
