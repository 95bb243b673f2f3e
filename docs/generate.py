"""Write the tables that follow from the code into the pages of this folder (`make docs`)."""

import json
import re
from pathlib import Path

from app.attachments.errors import ERRORS
from app.queries.connector_reference import errors_table, settings_table
from app.settings import Settings, variable_name
from connectors.base import registry

FOLDER = Path(__file__).parent


def fill(page: str, name: str, table: str) -> str:
    """Return a page with a table between the markers `<!-- name -->` and `<!-- /name -->`.

    Raises:
        ValueError: The page does not contain the markers exactly once.
    """
    block = f"<!-- {name} -->\n{table}\n<!-- /{name} -->"
    page, count = re.subn(rf"<!-- {name} -->.*?<!-- /{name} -->", lambda _: block, page, flags=re.S)
    if count != 1:
        raise ValueError(f"needs one pair of markers for {name}, has {count}.")
    return page


def pages() -> dict[Path, str]:
    """Return the contents of all generated pages, with their tables up to date."""
    contents = {}
    for path in sorted((FOLDER / "connectors").glob("*.md")):
        connector = registry.load(path.stem)
        page = fill(path.read_text(), "settings", settings_table(connector))
        contents[path] = fill(page, "errors", errors_table(connector))
    path = FOLDER / "configuration.md"
    contents[path] = fill(path.read_text(), "settings", _configuration_table())
    path = FOLDER / "operations.md"
    contents[path] = fill(path.read_text(), "attachment errors", _attachment_errors_table())
    return contents


def _configuration_table() -> str:
    rows = [
        f"| `{variable_name(name)}` | {_default(field.default)} | {field.description} |"
        for name, field in Settings.model_fields.items()
    ]
    return "\n".join(["| Variable | Default | Description |", "|---|---|---|", *rows])


def _default(value: object) -> str:
    """Return a default as it is written in the environment."""
    match value:
        case None:
            return "none"
        case bool():
            return f"`{str(value).lower()}`"
        case float():
            return f"`{value:g}`"
        case tuple():
            return f"`{json.dumps(value)}`"
        case _:
            return f"`{value}`"


def _attachment_errors_table() -> str:
    rows = [
        f"| `{error.code}` | {error.outcome.__name__.lower()} | {error.meaning} |"
        for error in ERRORS
    ]
    return "\n".join(["| Code | Outcome | Meaning |", "|---|---|---|", *rows])


if __name__ == "__main__":
    for path, page in pages().items():
        path.write_text(page)
