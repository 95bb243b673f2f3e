"""The application as gunicorn loads it."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]


@pytest.mark.parametrize(
    ("variable", "value", "reported"),
    [
        ("POSTROOM_AGENTS_FILE", "missing.toml", "missing.toml"),
        ("POSTROOM_PORT", "secret", "POSTROOM_PORT: "),
        (
            "POSTROOM_SUBMIT_RATE_LIMITS",
            '["many"]',
            "RATE_LIMITS: not a rate limit",
        ),
    ],
)
def test_gunicorn_exits_with_a_clear_error_if_the_configuration_is_invalid(
    environment: pytest.MonkeyPatch, variable: str, value: str, reported: str
) -> None:
    environment.setenv(variable, value)
    process = subprocess.run(
        [sys.executable, "-m", "gunicorn", "app.api.wsgi:app", "--bind=127.0.0.1:0",
         "--no-control-socket"],
        cwd=ROOT, env=os.environ, capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip
    assert process.returncode == 4
    assert "postroom cannot start" in process.stderr
    assert reported in process.stderr
    assert "secret" not in process.stderr
    assert "Traceback" not in process.stderr
