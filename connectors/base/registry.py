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
    """The connector class called `name`. Raises LookupError naming those that exist."""
    found = entry_points(group=ENTRY_POINT_GROUP, name=name)
    if not found:
        raise LookupError(f"no connector is called {name!r}; there are: {', '.join(names())}")
    loaded = next(iter(found)).load()
    if not (isinstance(loaded, type) and issubclass(loaded, Connector)):
        raise LookupError(  # noqa: TRY004 - to a caller it is one more name that is no connector
            f"the connector {name!r} is no connectors.base.Connector"
        )
    return loaded
