"""Each connector has a page that agrees with its code and whose examples work."""

import re
from pathlib import Path

import pytest

from app.agents import Agents
from connectors.base import registry
from tests.doubles.service_accounts import key_file

FOLDER = Path(__file__).resolve().parents[2] / "docs" / "connectors"
PAGES = {path.stem: path.read_text() for path in sorted(FOLDER.glob("*.md"))}
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


def test_every_included_connector_has_a_page() -> None:
    included = [
        name
        for name in registry.names()
        if registry.load(name).__module__.startswith("connectors.")
    ]
    assert list(PAGES) == included


def test_every_setting_has_a_description() -> None:
    missing = {name: re.findall(r"^\| (.*) \|  \|$", page, re.M) for name, page in PAGES.items()}

    assert not any(missing.values()), missing


def test_every_page_lists_limitations_and_links_to_the_documentation() -> None:
    failures = [
        name
        for name, page in PAGES.items()
        if "\n## Limitations\n" not in page
        or (registry.load(name).documentation and "](https://" not in page)
    ]

    assert not failures


@pytest.mark.parametrize("name", PAGES)
def test_examples_on_a_page_work(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, *others = re.findall(r"^```toml\n(.*?)^```", PAGES[name], re.MULTILINE | re.DOTALL)
    for example in [first, *others]:
        for variable in re.findall(r"\$\{(\w+)\}", example):
            monkeypatch.setenv(variable, SECRETS.get(variable, "secret-of-24-characters!"))
        file = tmp_path / "agents.toml"
        file.write_text(example if "connector =" in example else _extend(first, example))
        Agents.load(file).close()


def _extend(example: str, extension: str) -> str:
    """Return an example with the lines that an extension adds to it."""
    lines = example.splitlines()
    return "\n".join([*lines, *(line for line in extension.splitlines() if line not in lines)])
