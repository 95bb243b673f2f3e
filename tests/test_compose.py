"""docker-compose.yml runs what `postroom up` runs, in a way that survives a bad night."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from app.local.processes import processes
from app.local.supervisor import STOP_SECONDS
from app.settings import Settings

ROOT = Path(__file__).parent.parent
FILE = ROOT / "docker-compose.yml"
SERVICES: dict[str, dict[str, Any]] = yaml.safe_load(FILE.read_text())["services"]
SETTINGS = Settings(_env_file=None)
# The sandbox plays the providers of a first run, and has no place in an installation.
OURS = [process.name for process in processes(SETTINGS) if process.name != "sandbox"]
VARIABLES = {
    field.validation_alias or f"POSTROOM_{name.upper()}"
    for name, field in Settings.model_fields.items()
}


def seconds(duration: str) -> int:
    found = re.fullmatch(r"(\d+)s", duration)
    assert found is not None
    return int(found[1])


def test_it_runs_the_processes_of_up_beside_the_servers_and_the_migration() -> None:
    assert set(SERVICES) == {*OURS, "postgres", "redis", "migrate"}


@pytest.mark.parametrize("name", OURS)
def test_each_process_runs_the_command_that_up_runs(name: str) -> None:
    assert SERVICES[name]["command"] == ["python", "-m", "app.local.processes", name]


@pytest.mark.parametrize("name", [*OURS, "migrate"])
def test_each_variable_is_one_that_the_settings_read(name: str) -> None:
    assert set(SERVICES[name]["environment"]) <= VARIABLES


@pytest.mark.parametrize("name", [*OURS, "postgres", "redis"])
def test_each_service_is_checked_and_starts_again(name: str) -> None:
    assert SERVICES[name]["healthcheck"]["test"]
    assert SERVICES[name]["restart"] == "unless-stopped"


@pytest.mark.parametrize("name", ["web", "worker", "postgres"])
def test_what_is_under_way_has_the_time_to_finish(name: str) -> None:
    assert seconds(SERVICES[name]["stop_grace_period"]) >= STOP_SECONDS


@pytest.mark.parametrize("name", SERVICES)
def test_ports_are_those_that_are_listened_on_and_open_to_this_machine_alone(name: str) -> None:
    environment = {
        key.removeprefix("POSTROOM_").lower(): value
        for key, value in SERVICES[name]["environment"].items()
        if key.startswith("POSTROOM_") and key != "POSTROOM_VAR"
    }
    started = {process.name: process for process in processes(Settings(**environment))}
    listening = started[name].ports if name in started else ()
    wanted = [f"127.0.0.1:{port.number}:{port.number}" for port in listening]
    assert SERVICES[name].get("ports", []) == wanted
    assert all(port.host == "0.0.0.0" for port in listening), "others could not reach it"


def test_secrets_come_from_the_environment_and_are_not_optional() -> None:
    for variable in ("POSTGRES_PASSWORD", "REDIS_PASSWORD", "POSTROOM_FLOWER_BASIC_AUTH"):
        uses = re.findall(rf"(?<!\$)\$\{{?{variable}[^}}]*\}}?", FILE.read_text())
        assert uses
        assert set(uses) == {f"${{{variable}:?}}"}


def test_several_workers_share_the_load() -> None:
    assert SERVICES["worker"]["deploy"]["replicas"] > 1


@pytest.mark.parametrize("name", [*OURS, "migrate"])
def test_our_processes_have_no_rights_beyond_their_work(name: str) -> None:
    service = SERVICES[name]
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert service["read_only"] is True


def test_the_image_runs_as_a_user_of_its_own_from_the_locked_versions() -> None:
    lines = (ROOT / "Dockerfile").read_text().splitlines()
    assert [line for line in lines if line.startswith("USER ")] == ["USER postroom"]
    assert any("--require-hashes -r requirements-image.lock" in line for line in lines)


def test_both_locks_name_the_same_versions() -> None:
    def versions(name: str) -> set[str]:
        return set(re.findall(r"^\S+==[^\s;]+", (ROOT / name).read_text(), re.MULTILINE))

    assert versions("requirements-image.lock") <= versions("requirements.lock")
