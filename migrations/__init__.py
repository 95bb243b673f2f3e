"""Alembic's environment and revisions."""

from functools import cache
from pathlib import Path


@cache
def newest_revision() -> str:
    """Return the newest revision of this version of Postroom, such as `0005`.

    It comes from the names of the files, so that processes which only compare it with that of the
    database do not import Alembic.
    """
    files = (Path(__file__).parent / "versions").glob("[0-9]*.py")
    return max(file.name.partition("_")[0] for file in files)
