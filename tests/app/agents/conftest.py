"""Agents loaded from the text of an `agents.toml`."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from app.agents import Agents

Load = Callable[[str], Agents]


@pytest.fixture
def load(tmp_path: Path) -> Iterator[Load]:
    """Load the agents of a file with this text; they are closed after the test."""
    loaded: list[Agents] = []

    def load(text: str) -> Agents:
        file = tmp_path / "agents.toml"
        file.write_text(text, "utf-8")
        loaded.append(Agents.load(file))
        return loaded[-1]

    yield load
    for agents in loaded:
        agents.close()
