"""Settings and their errors."""

import re
import shlex

import pytest
from pydantic import ValidationError
from pydantic_settings import SettingsError

from app.settings import Settings, describe_errors, variable_name


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
