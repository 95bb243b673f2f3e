"""`postroom agents check`."""

import json
from pathlib import Path

import pytest

from tests.app.cli.conftest import Postroom

LIMITED = """
[agents.mail]
connector = "smtp"
max_in_flight = 8
rate_limits = ["10/second", "1000/hour"]
worker_rate_limit = "30/m"
retry = { attempts = 5, base_seconds = 1.5, factor = 2, cap_seconds = 60 }
[agents.mail.settings]
host = "127.0.0.1"
security = "plain"
[agents.mail.profiles.default]
[agents.mail.profiles.news]
rate_limits = ["1/minute"]
[agents.mail.profiles.news.settings]
username = "news"
password = "${TEST_MAIL_PASSWORD}"
"""


@pytest.fixture
def limited(environment: pytest.MonkeyPatch, agents_file: Path) -> None:
    environment.setenv("TEST_MAIL_PASSWORD", "a-secret-word")
    agents_file.write_text(LIMITED)


def test_check_shows_each_agent_with_its_limits_and_retries(
    postroom: Postroom, limited: None
) -> None:
    result = postroom("agents", "check")
    assert (result.exit_code, result.stderr) == (0, "")
    [line] = [line for line in result.stdout.splitlines() if line.startswith("mail")]
    for part in (
        "smtp", "email", "8", "10/second, 1000/hour, news: 1/minute, 30/m per worker",
        "5 attempts, 1.5 s ×2 up to 60 s", "default news",
    ):  # fmt: skip
        assert part in line


def test_json_contains_everything_except_connector_settings(
    postroom: Postroom, limited: None
) -> None:
    result = postroom("agents", "check", "--json")
    assert json.loads(result.stdout) == [
        {
            "agent": "mail",
            "connector": "smtp",
            "channels": ["email"],
            "max_in_flight": 8,
            "rate_limits": ["10/second", "1000/hour"],
            "over_limit": "defer",
            "worker_rate_limit": "30/m",
            "retry": {
                "attempts": 5,
                "base_seconds": 1.5,
                "factor": 2.0,
                "cap_seconds": 60.0,
                "jitter": 0.2,
            },
            "on_uncertain": "retry",
            "profiles": {"default": {"rate_limits": []}, "news": {"rate_limits": ["1/minute"]}},
        }
    ]
    assert "a-secret-word" not in result.output


def test_each_invalid_key_is_a_line_without_its_value(
    postroom: Postroom, limited: None, agents_file: Path
) -> None:
    failures = []
    for old, new, keys in (
        ("max_in_flight = 8", "max_in_flight = 0", ["agents.mail.max_in_flight: "]),
        (
            "max_in_flight = 8",
            "max_in_flight = 0\ncolour = 1",
            ["agents.mail.max_in_flight: must be greater", "agents.mail.colour: unknown key"],
        ),
        (
            'host = "127.0.0.1"\n',
            "",
            ["settings.host: missing (profile", "settings.host: missing (profile"],
        ),  # of both profiles
        ('"1000/hour"', '"10/fortnight"', ["agents.mail.rate_limits[2]: not a rate limit."]),
        ("retry = {", "retry = 5 #", ["agents.mail.retry: must be a table"]),
        ('["1/minute"]', '"1/minute"', ["agents.mail.profiles.news.rate_limits: must be a list"]),
        ('"smtp"', '"pigeon"', ["agents.mail"]),
        ("TEST_MAIL_PASSWORD", "TEST_NOT_SET", ["TEST_NOT_SET is not set"]),
        ("[agents.mail]", "[agents.mail", ["agents.toml"]),
    ):
        assert old in LIMITED
        agents_file.write_text(LIMITED.replace(old, new, 1))
        result = postroom("agents", "check", "--json")
        lines = sorted(result.stderr.splitlines())
        if not (
            (result.exit_code, result.stdout) == (1, "")
            and len(lines) == len(keys)
            and all(key in line for key, line in zip(sorted(keys), lines, strict=True))
            and all(line.startswith("postroom: ") for line in lines)
            and "a-secret-word" not in result.stderr
        ):
            failures.append(f"{new}: {result.exit_code} {result.output}")
    assert not failures
