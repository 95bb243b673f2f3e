"""The documentation matches the program."""

import re
import runpy
import tomllib
from pathlib import Path
from typing import Any

import click
import pytest

from app.agents import Agents
from app.cli import main

ROOT = Path(__file__).resolve().parents[2]
README = ROOT / "README.md"
CONFIGURATION = ROOT / "docs" / "configuration.md"
OPERATIONS = ROOT / "docs" / "operations.md"
PAGES = [README, ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md", *(ROOT / "docs").glob("*.md")]
FENCE = re.compile(r"^```.*?^```", re.MULTILINE | re.DOTALL)


@pytest.fixture(scope="module")
def generator() -> dict[str, Any]:
    return runpy.run_path(str(ROOT / "docs" / "generate.py"))


def test_generated_tables_are_up_to_date(generator: dict[str, Any]) -> None:
    outdated = [
        path.name for path, page in generator["pages"]().items() if page != path.read_text()
    ]
    assert not outdated, "run `make docs`"


def test_generator_rejects_a_page_without_markers(generator: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="needs one pair of markers for settings, has 0"):
        generator["fill"]("# a page", "settings", "a table")


def _anchors(page: Path) -> set[str]:
    """Return the anchors of the headings of a page."""
    headings = re.findall(r"^#+ (.+)$", FENCE.sub("", page.read_text()), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_relative_link_has_a_target(page: Path) -> None:
    links = re.findall(r"\]\(([^)\s]+)\)", FENCE.sub("", page.read_text()))
    assert links
    broken = []
    for link in links:
        if link.startswith("https://"):
            continue
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        if not target.is_file() or (anchor and anchor not in _anchors(target)):
            broken.append(link)
    assert broken == []


def test_every_dependency_is_listed_with_a_reason() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    groups = [project["dependencies"], *project["optional-dependencies"].values()]
    wanted = {re.split(r"[^A-Za-z0-9.-]", line)[0] for group in groups for line in group}
    page = (ROOT / "docs" / "architecture.md").read_text()
    section = page.partition("\n## Dependencies\n")[2]
    listed = {
        name
        for names, _reason in re.findall(r"^- (`.+`): (.+)$", section, re.MULTILINE)
        for name in re.findall(r"`([^`]+)`", names)
    }
    assert listed == wanted


def _commands(command: click.Command, words: tuple[str, ...]) -> list[str]:
    if not isinstance(command, click.Group):
        return [" ".join(words)]
    context = click.Context(command)
    return [
        found
        for name in command.list_commands(context)
        if (inner := command.get_command(context, name))
        for found in _commands(inner, (*words, name))
    ]


@pytest.mark.parametrize("command", _commands(main, ("postroom",)))
def test_every_command_is_documented(command: str) -> None:
    text = " ".join((README.read_text() + OPERATIONS.read_text()).split())
    assert re.search(rf"\b{re.escape(command)}\b", text)


def test_the_example_of_agents_toml_is_valid(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    [example] = re.findall(r"^```toml\n(.*?)^```", CONFIGURATION.read_text(), re.M | re.S)
    file = tmp_path / "agents.toml"
    file.write_text(example)
    for name in ("SMTP_PASSWORD", "SMS_KEY"):
        monkeypatch.setenv(name, "secret")
    agents = Agents.load(file)
    assert agents.connector("mail", "shop").settings.sender == "Shop <shop@shop.example>"
    agents.close()
