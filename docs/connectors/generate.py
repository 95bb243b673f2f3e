"""Writes the tables of settings and errors into the pages of this folder: `make docs`."""

import re
from pathlib import Path

from app.queries.connector_reference import errors_table, settings_table
from connectors.base import registry

FOLDER = Path(__file__).parent


def filled(page: str, name: str) -> str:
    """The text `page` with the tables of the connector `name` between their marks."""
    connector = registry.load(name)
    for mark, table in (("settings", settings_table), ("errors", errors_table)):
        block = f"<!-- {mark} -->\n{table(connector)}\n<!-- /{mark} -->"
        page, count = re.subn(
            rf"<!-- {mark} -->.*?<!-- /{mark} -->", lambda _, b=block: b, page, flags=re.DOTALL
        )
        if count != 1:
            raise ValueError(f"{name}.md must have one place for {mark}")
    return page


if __name__ == "__main__":
    for path in FOLDER.glob("*.md"):
        path.write_text(filled(path.read_text(), path.stem))
