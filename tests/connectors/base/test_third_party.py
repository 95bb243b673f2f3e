"""A connector in a package of its own: the one that CONTRIBUTING shows, installed and used."""

import json
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]

SEND = """
import sys
from pathlib import Path

from app.agents import Agents, choose_agent
from connectors.base import OutboundMessage

agents = Agents.load(Path(sys.argv[1]))
agent = choose_agent(
    agents,
    channel="sms",
    recipient="+12025550123",
    sender=None,
    requested=None,
    profile="default",
)
message = OutboundMessage(1, "uid-1", "sms", "+12025550123", body="Hello")
print(agent.name, agents.connector(agent.name, "default").send(message).code)
agents.close()
"""


def example(language: str, beginning: str) -> str:
    section = (ROOT / "CONTRIBUTING.md").read_text().partition("## A connector of your own\n")[2]
    [found] = re.findall(
        rf"^```{language}\n({re.escape(beginning)}.*?)^```", section, re.MULTILINE | re.DOTALL
    )
    return found


@pytest.fixture
def site(tmp_path: Path) -> Path:
    """A directory as an installer leaves it after the package: its module and its metadata."""
    (tmp_path / "postroom_acme.py").write_text(example("python", '"""Acme'))
    project = tomllib.loads(example("toml", "[build-system]"))["project"]
    name, version = project["name"], project["version"]
    metadata = tmp_path / f"{name.replace('-', '_')}-{version}.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
    (metadata / "entry_points.txt").write_text(
        "\n".join(
            f"[{group}]\n" + "\n".join(f"{name} = {target}" for name, target in entries.items())
            for group, entries in project["entry-points"].items()
        )
    )
    return tmp_path


def test_installed_package_provides_a_working_connector(site, provider):
    provider.answer(202)
    agents = site / "agents.toml"
    agents.write_text(
        example("toml", "[agents.acme]")
        + f'url = "{provider.url}/v1/sms"\nallow_networks = ["loopback"]\n'
    )

    ended = subprocess.run(
        [sys.executable, "-c", SEND, agents],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(site), "ACME_KEY": "our-key"},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )

    assert (ended.stdout, ended.stderr) == ("acme 202\n", "")
    [received] = provider.received
    assert (received.method, received.path) == ("POST", "/v1/sms")
    assert json.loads(received.body) == {"to": "+12025550123", "text": "Hello"}
    assert received.headers["Authorization"] == "Bearer our-key"
    assert received.headers["Idempotency-Key"] == "uid-1"
