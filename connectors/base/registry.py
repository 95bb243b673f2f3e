"""Find connector classes by name, of this and of other packages."""

from functools import cache
from importlib.metadata import entry_points
from typing import Any

from connectors.base.connector import Connector

ENTRY_POINT_GROUP = "postroom.connectors"


def names() -> list[str]:
    """Return the names of all installed connectors, sorted."""
    return sorted(entry_points(group=ENTRY_POINT_GROUP).names)


@cache
def load(name: str) -> type[Connector[Any]]:
    """Return the class of a connector.

    Raises:
        LookupError: No such connector is installed. The text lists those that are.
    """
    found = entry_points(group=ENTRY_POINT_GROUP, name=name)
    if not found:
        raise LookupError(f"no connector {name!r}. Installed connectors: {', '.join(names())}.")
    loaded = next(iter(found)).load()
    if not (isinstance(loaded, type) and issubclass(loaded, Connector)):
        raise LookupError(  # noqa: TRY004 - to the caller the name is not that of a connector
            f"the connector {name!r} is not a connectors.base.Connector"
        )
    return loaded
