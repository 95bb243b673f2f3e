import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]


@pytest.mark.parametrize(
    ("variable", "value", "said"),
    [
        ("POSTROOM_AGENTS_FILE", "missing.toml", "missing.toml"),
        ("POSTROOM_PORT", "secret", "port"),
        ("POSTROOM_SUBMIT_RATE_LIMITS", '["many"]', "not a rate limit"),
    ],
)
def test_gunicorn_ends_with_a_clear_line_where_the_set_up_is_wrong(
    environment: pytest.MonkeyPatch, variable: str, value: str, said: str
) -> None:
    environment.setenv(variable, value)
    ended = subprocess.run(
        [sys.executable, "-m", "gunicorn", "app.api.wsgi:app", "--bind=127.0.0.1:0",
         "--no-control-socket"],
        cwd=ROOT, env=os.environ, capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip
    assert ended.returncode == 4
    assert "postroom cannot start" in ended.stderr
    assert said in ended.stderr
    assert "secret" not in ended.stderr
    assert "Traceback" not in ended.stderr
