"""docker-compose.yml runs the processes of `postroom up`, and restarts them."""

import re
from pathlib import Path
from typing import Any

import yaml

from app.local.processes import processes
from app.local.supervisor import STOP_SECONDS
from app.server_log import PRIVATE_SETTINGS
from app.settings import Settings, variable_name

ROOT = Path(__file__).parent.parent
FILE = ROOT / "docker-compose.yml"
SERVICES: dict[str, dict[str, Any]] = yaml.safe_load(FILE.read_text())["services"]
# The sandbox simulates providers, so it is not part of an installation.
PROCESSES = [
    process.name for process in processes(Settings(_env_file=None)) if process.name != "sandbox"
]


def seconds(duration: str) -> int:
    found = re.fullmatch(r"(\d+)s", duration)
    assert found is not None
    return int(found[1])


def test_services_are_the_processes_the_servers_and_the_migration() -> None:
    assert set(SERVICES) == {*PROCESSES, "postgres", "redis", "migrate"}
    for name in PROCESSES:
        assert SERVICES[name]["command"] == ["python", "-m", "app.local.processes", name]
    assert SERVICES["worker"]["deploy"]["replicas"] > 1


def test_postgres_keeps_message_content_out_of_its_log() -> None:
    options = SERVICES["postgres"]["command"]
    assert {f"--{name}={value}" for name, value in PRIVATE_SETTINGS.items()} <= {*options}


def test_variables_are_settings() -> None:
    variables = {variable_name(name) for name in Settings.model_fields}
    for name in (*PROCESSES, "migrate"):
        assert set(SERVICES[name]["environment"]) <= variables, name


def test_services_have_health_checks_and_are_restarted() -> None:
    for name in (*PROCESSES, "postgres", "redis"):
        assert SERVICES[name]["healthcheck"]["test"], name
        assert SERVICES[name]["restart"] == "unless-stopped", name


def test_work_in_progress_has_time_to_finish() -> None:
    for name in ("web", "worker", "postgres"):
        assert seconds(SERVICES[name]["stop_grace_period"]) >= STOP_SECONDS, name


def test_published_ports_are_listened_on_and_only_on_this_machine() -> None:
    for name, service in SERVICES.items():
        environment = {
            key.removeprefix("POSTROOM_").lower(): value
            for key, value in service["environment"].items()
            if key.startswith("POSTROOM_") and key != "POSTROOM_VAR"
        }
        started = {process.name: process for process in processes(Settings(**environment))}
        listening = started[name].ports if name in started else ()
        expected = [f"127.0.0.1:{port.number}:{port.number}" for port in listening]
        assert service.get("ports", []) == expected, name
        assert all(port.host == "0.0.0.0" for port in listening), name


def test_secrets_are_required_variables() -> None:
    for variable in ("POSTGRES_PASSWORD", "REDIS_PASSWORD", "POSTROOM_FLOWER_BASIC_AUTH"):
        uses = re.findall(rf"(?<!\$)\$\{{?{variable}[^}}]*\}}?", FILE.read_text())
        assert uses
        assert set(uses) == {f"${{{variable}:?}}"}


def test_processes_are_unprivileged() -> None:
    for name in (*PROCESSES, "migrate"):
        service = SERVICES[name]
        assert service["cap_drop"] == ["ALL"], name
        assert service["security_opt"] == ["no-new-privileges:true"], name
        assert service["read_only"] is True, name


def test_image_has_its_own_user_and_locked_versions() -> None:
    lines = (ROOT / "Dockerfile").read_text().splitlines()
    assert [line for line in lines if line.startswith("USER ")] == ["USER postroom"]
    assert any("--require-hashes -r requirements-image.lock" in line for line in lines)


def test_both_locks_have_the_same_versions() -> None:
    def versions(name: str) -> set[str]:
        return set(re.findall(r"^\S+==[^\s;]+", (ROOT / name).read_text(), re.MULTILINE))

    assert versions("requirements-image.lock") <= versions("requirements.lock")
