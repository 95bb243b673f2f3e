"""Write the tables of settings and error codes into the pages of this folder (`make docs`)."""

import re
from pathlib import Path

from app.queries.connector_reference import errors_table, settings_table
from connectors.base import registry

FOLDER = Path(__file__).parent


def fill_tables(page: str, name: str) -> str:
    """Return a page with the tables of the named connector between their markers.

    Raises:
        ValueError: The page does not contain each pair of markers exactly once.
    """
    connector = registry.load(name)
    for marker, table in (("settings", settings_table), ("errors", errors_table)):
        block = f"<!-- {marker} -->\n{table(connector)}\n<!-- /{marker} -->"
        page, count = re.subn(
            rf"<!-- {marker} -->.*?<!-- /{marker} -->", lambda _, b=block: b, page, flags=re.DOTALL
        )
        if count != 1:
            raise ValueError(f"{name}.md: needs one pair of markers for {marker}, has {count}.")
    return page


if __name__ == "__main__":
    for path in FOLDER.glob("*.md"):
        path.write_text(fill_tables(path.read_text(), path.stem))
