"""Settings and their errors."""

import re
import shlex
from pathlib import Path

import pytest
from pydantic import ValidationError
from pydantic_settings import SettingsError

from app.settings import Settings, describe_errors, settings, variable_name

CHECKOUT = Path(__file__).resolve().parents[2]


def errors(environment: pytest.MonkeyPatch, variable: str, value: str) -> list[str]:
    with environment.context() as one:
        one.setenv(variable, value)
        try:
            Settings(_env_file=None)
        except (ValidationError, SettingsError) as error:
            return describe_errors(error)
    return []


def test_errors_name_the_variable_and_an_example_that_is_valid(
    environment: pytest.MonkeyPatch,
) -> None:
    failures = []
    for field in Settings.model_fields:
        variable = variable_name(field)
        lines = errors(environment, variable, "{a-secret-word")
        for line in lines:
            found = re.fullmatch(rf"{variable}: .+\. Example: {variable}=(.+)", line)
            if not found or "secret" in line:
                failures.append(line)
            elif errors(environment, variable, shlex.split(found[1])[0]):
                failures.append(f"the example is not valid: {line}")
    assert not failures, "\n".join(failures)


def test_list_that_is_not_json_is_explained_by_an_example(environment: pytest.MonkeyPatch) -> None:
    [line] = errors(environment, "POSTROOM_SUBMIT_RATE_LIMITS", "5/second")
    assert line.startswith("POSTROOM_SUBMIT_RATE_LIMITS: not valid JSON. Example: ")
    assert line.endswith("""POSTROOM_SUBMIT_RATE_LIMITS='["5/second", "1000/hour"]'""")
    assert errors(environment, "POSTROOM_PORT", "99999") == [
        "POSTROOM_PORT: must be less than or equal to 65535. Example: POSTROOM_PORT=8080"
    ]


def test_files_are_found_from_a_folder_below_and_from_anywhere(
    environment: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for variable in ("DATABASE_URL", "POSTROOM_VAR", "POSTROOM_AGENTS_FILE"):
        environment.delenv(variable, raising=False)
    project = tmp_path / "project"
    (project / "var").mkdir(parents=True)
    (project / "var" / "env").write_text("DATABASE_URL=postgresql://found@127.0.0.1/postroom\n")
    (project / "reports" / "2026").mkdir(parents=True)
    failures = []
    for current, expected in (
        (project, Path()),
        (project / "reports" / "2026", project),
        (Path("/"), CHECKOUT),
    ):
        environment.chdir(current)
        settings.cache_clear()
        found = settings()
        if (found.var, found.agents_file) != (expected / "var", expected / "agents.toml"):
            failures.append(f"{current}: {found.var}, {found.agents_file}")
        if expected != CHECKOUT and "found@" not in found.database_url:
            failures.append(f"{current}: {found.database_url}")
    settings.cache_clear()
    assert not failures


def test_given_folders_take_precedence(environment: pytest.MonkeyPatch, tmp_path: Path) -> None:
    environment.setenv("POSTROOM_VAR", str(tmp_path / "data"))
    environment.setenv("POSTROOM_AGENTS_FILE", "mine.toml")
    settings.cache_clear()
    assert (settings().var, settings().agents_file) == (tmp_path / "data", Path("mine.toml"))
    settings.cache_clear()
