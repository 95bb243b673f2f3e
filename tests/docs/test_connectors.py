"""A page for each connector, that says what its code says, with examples that can be used."""

import importlib.util
import re
from pathlib import Path
from types import ModuleType

import pytest

from app.agents import Agents
from connectors.base import registry
from tests.doubles.service_accounts import key_file

FOLDER = Path(__file__).resolve().parents[1] / "docs" / "connectors"
PAGES = sorted(FOLDER.glob("*.md"))
WHSEC = "whsec_" + "c2VjcmV0" * 4
SECRETS = {
    "TWILIO_ACCOUNT_SID": "AC" + "0" * 32,
    "TWILIO_MESSAGING_SERVICE_SID": "MG" + "0" * 32,
    "GOOGLE_SERVICE_ACCOUNT": key_file(),
    "FIREBASE_KEY": key_file(),
    "HOOKS_SECRET": WHSEC,
    "HOOKS_SECRET_BEFORE": WHSEC,
    "PARTNER_WEBHOOK_SECRET": WHSEC,
    "SENDGRID_EVENT_KEY": (
        "MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAE8qcBZVp73I/nwZAQPHrvBXHhhmqCp27++2fY7Z46qM2d"
        "/ovHjGq18fc41aoIF1/4Hwg4OLrc4307W0nGJmQmCA=="
    ),
}


@pytest.fixture(scope="module")
def generator() -> ModuleType:
    spec = importlib.util.spec_from_file_location("generate", FOLDER / "generate.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_every_connector_of_ours_has_its_page() -> None:
    ours = [
        name
        for name in registry.names()
        if registry.load(name).__module__.startswith("connectors.")
    ]
    assert [page.stem for page in PAGES] == ours


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_the_tables_are_those_of_the_code(page: Path, generator: ModuleType) -> None:
    assert generator.filled(page.read_text(), page.stem) == page.read_text(), "run `make docs`"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_every_setting_says_what_it_is(page: Path) -> None:
    assert not re.findall(r"^\| `.*\|  \|$", page.read_text(), re.MULTILINE)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_the_page_says_what_cannot_be_promised_and_where_to_read_on(page: Path) -> None:
    text = page.read_text()
    assert "\n## What it cannot promise\n" in text
    documentation = registry.load(page.stem).documentation
    assert documentation is None or re.search(r"\]\(https://", text)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_its_examples_can_be_used(
    page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, *others = re.findall(r"^```toml\n(.*?)^```", page.read_text(), re.MULTILINE | re.DOTALL)
    for example in [first, *others]:
        for name in re.findall(r"\$\{(\w+)\}", example):
            monkeypatch.setenv(name, SECRETS.get(name, "secret-of-24-characters!"))
        file = tmp_path / "agents.toml"
        file.write_text(example if "connector =" in example else _added(first, example))
        Agents.load(file).close()


def _added(example: str, more: str) -> str:
    """`example` with the lines that `more` adds to its last table, or tables of their own."""
    new = [line for line in more.splitlines() if line not in example.splitlines()]
    return "\n".join([example, *new])
