"""The documentation matches the program."""

import json
import re
import tomllib
from pathlib import Path

import click
import pytest
from pydantic.fields import FieldInfo

from app.agents import Agents
from app.attachments.errors import ERRORS
from app.cli import main
from app.settings import Settings

ROOT = Path(__file__).resolve().parents[2]
README = ROOT / "README.md"
CONFIGURATION = ROOT / "docs" / "configuration.md"
OPERATIONS = ROOT / "docs" / "operations.md"
PAGES = [README, ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md", *(ROOT / "docs").glob("*.md")]
FENCE = re.compile(r"^```.*?^```", re.MULTILINE | re.DOTALL)


def _variable(name: str, field: FieldInfo) -> str:
    alias = field.validation_alias
    return alias if isinstance(alias, str) else f"POSTROOM_{name.upper()}"


def _shown(value: object) -> str:
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


def _configuration_table() -> dict[str, tuple[str, str]]:
    rows = re.findall(r"^\| `([A-Z0-9_]+)` \| (.+?) \| (.+?) \|$", CONFIGURATION.read_text(), re.M)
    return {variable: (default, meaning) for variable, default, meaning in rows}


def test_every_setting_is_in_the_table_with_its_default() -> None:
    expected = {
        _variable(name, field): _shown(field.default)
        for name, field in Settings.model_fields.items()
    }
    assert {variable: row[0] for variable, row in _configuration_table().items()} == expected


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
    wanted = {re.split(r"[^A-Za-z0-9-]", line)[0] for group in groups for line in group}
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


def test_every_attachment_error_is_documented() -> None:
    rows = re.findall(r"^\| `(attachment_.+)` \| (.+) \| (.+) \|$", OPERATIONS.read_text(), re.M)
    assert rows == [(row.code, row.outcome.__name__.lower(), row.meaning) for row in ERRORS]


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
