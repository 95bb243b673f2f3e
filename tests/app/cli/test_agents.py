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


def test_the_table_says_what_each_agent_may(postroom: Postroom, limited: None) -> None:
    result = postroom("agents", "check")
    assert (result.exit_code, result.stderr) == (0, "")
    [line] = [line for line in result.stdout.splitlines() if line.startswith("mail")]
    for part in (
        "smtp", "email", "8", "10/second, 1000/hour, news: 1/minute, 30/m per worker",
        "5 tries, 1.5 s ×2 up to 60 s", "default news",
    ):  # fmt: skip
        assert part in line


def test_json_holds_everything_but_the_settings_where_secrets_are(
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


@pytest.mark.parametrize(
    ("old", "new", "key"),
    [
        ("max_in_flight = 8", "max_in_flight = 0", "agents.mail.max_in_flight: "),
        ("max_in_flight = 8", "colour = 8", "agents.mail.colour: "),
        ('host = "127.0.0.1"\n', "", "host: "),
        ('"10/second"', '"10/fortnight"', "agents.mail.rate_limits"),
        ('"smtp"', '"pigeon"', "agents.mail"),
        ("TEST_MAIL_PASSWORD", "TEST_NOT_SET", "TEST_NOT_SET is not set"),
        ("[agents.mail]", "[agents.mail", "agents.toml"),
    ],
)
def test_a_fault_is_a_line_that_names_its_key(
    postroom: Postroom, limited: None, agents_file: Path, old: str, new: str, key: str
) -> None:
    assert old in LIMITED
    agents_file.write_text(LIMITED.replace(old, new, 1))
    result = postroom("agents", "check", "--json")
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr
    for line in result.stderr.splitlines():
        assert line.startswith("postroom: ")
        assert key in line
        assert "a-secret-word" not in line


def test_every_fault_has_its_own_line(postroom: Postroom, agents_file: Path) -> None:
    agents_file.write_text(LIMITED.replace("max_in_flight = 8", "max_in_flight = 0\ncolour = 1"))
    agents_file.write_text(agents_file.read_text().replace("${TEST_MAIL_PASSWORD}", "word"))
    result = postroom("agents", "check")
    assert result.exit_code == 1
    assert len(result.stderr.splitlines()) == 2
