"""Celery processes with an invalid configuration."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize("process", ["worker", "beat"])
def test_celery_exits_with_one_line_if_the_configuration_is_invalid(
    environment: pytest.MonkeyPatch, agents_file: Path, process: str
) -> None:
    valid = agents_file.read_text()
    failures = []
    for mistake, setting, reported in (
        ("\ncolour = 1\n", "100", f"{agents_file}: agents.api.settings.colour: "),
        ("[agents.gateway", "100", f"{agents_file}: "),
        ("", "many", "POSTROOM_WORKER_CONCURRENCY: "),
    ):
        if process == "beat" and "colour" in mistake:
            continue  # beat needs only the names of the agents
        agents_file.write_text(valid + mistake)
        environment.setenv("POSTROOM_WORKER_CONCURRENCY", setting)
        ended = subprocess.run(
            [sys.executable, "-m", "celery", "-A", "tasks", process],
            cwd=ROOT, env=os.environ, capture_output=True, text=True, check=False, timeout=60,
        )  # fmt: skip
        lines = ended.stderr.splitlines()
        if (
            ended.returncode != 1
            or len(lines) != 1
            or not lines[0].startswith(f"postroom cannot start: {reported}")
        ):
            failures.append(f"{mistake!r}: {ended.returncode}\n{ended.stderr}")
    assert not failures, "\n".join(failures)
