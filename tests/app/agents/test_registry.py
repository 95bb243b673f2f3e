"""Loading `agents.toml`: what it may contain, and how its problems are reported."""

import re
from datetime import timedelta
from pathlib import Path

import pytest

from app.agents import Agents, AgentsError
from app.agents.registry import SEND_GRACE
from app.limits import parse
from tests.app.agents.conftest import Load
from tests.app.agents.files import GATEWAY, SBA, SECOND, SMTP

Problem = tuple[str, str]


def problems(load: Load, text: str) -> list[Problem]:
    """Return the key and the reason of each problem of a file."""
    try:
        load(text)
    except AgentsError as error:
        lines = [line.partition("agents.toml: ")[2] for line in str(error).splitlines()]
        return [(key, reason) for key, _, reason in (line.partition(": ") for line in lines)]
    return []


FILES: list[tuple[str, str, str]] = [
    ("", "agents", "no agent is configured"),
    ("agents = 3", "agents", "no agent is configured"),
    ("[agents]", "agents", "no agent is configured"),
    ('[agents]\nx = "gateway"', "agents.x.connector", ""),
    ("[agents.x]", "agents.x.connector", ""),
    ("[agents.x]\nconnector = 7", "agents.x.connector", "'7'"),
    ('[agents.x]\nconnector = "pigeon"', "agents.x.connector", "'pigeon'.*smtp"),
    (GATEWAY.replace("agents.gateway", 'agents."No"'), "agents.No.name", "pattern"),
    (
        GATEWAY.replace("gateway.settings", "gateway.setings"),
        "agents.gateway.setings",
        "unknown key",
    ),
    (GATEWAY.replace("url", "uri"), "agents.gateway.settings.url", "missing .profile default"),
    (GATEWAY.replace("url", "x = 1\nurl"), "agents.gateway.settings.x", "unknown key"),
    (SMTP.replace("host", 'ca_file = "/absent.pem", host'), "agents.smtp.settings", ""),
    ("routes = 3\n" + GATEWAY, "routes", r"\[\[routes\]\]"),
    ("route = []\n" + GATEWAY, "route", "unknown key"),
    (GATEWAY + "[[routes]]\nagent = 'smtp'", "routes[1].agent", "no agent smtp.*gateway"),
    (GATEWAY + "[[routes]]\nchannel = 'sms'", "routes[1].agent", "missing"),
    (GATEWAY + "[[routes]]\nagent = { gateway = 0 }", "routes[1].agent.gateway", "greater than 0"),
    (GATEWAY + "[[routes]]\nagent = 'gateway'\nchanel = 'sms'", "routes[1].chanel", "unknown key"),
    (GATEWAY + "[[routes]]\nagent = 'gateway'\nchannel = 'fax'", "routes[1].channel", "sms"),
]
LINES: list[tuple[str, str]] = [
    ('name = "other"', "name"),
    ('channels = ["fax"]', "channels[1]"),
    ('channels = ["sms", "email"]', "channels"),
    ('rate_limits = ["10/fortnight"]', "rate_limits[1]"),
    ("retry = { cap_seconds = inf }", "retry.cap_seconds"),
    ("retry = { jitter = nan }", "retry.jitter"),
    ("retry = { tries = 3 }", "retry.tries"),
    ("profiles = { eu = { settings = { key = 3 } } }", "settings.key"),
    ('profiles = { eu = { rate_limits = ["x"] } }', "profiles.eu.rate_limits[1]"),
]


def test_key_that_cannot_be_used_is_reported(load: Load) -> None:
    failures: list[tuple[str, object]] = []
    for text, key, reason in FILES:
        found = problems(load, text)
        if not any(name.startswith(key) and re.search(reason, why) for name, why in found):
            failures.append((text, found))
    for line, key in LINES:
        text = GATEWAY.replace("[agents.gateway.settings]", f"{line}\n[agents.gateway.settings]")
        names = {name for name, _ in problems(load, text)}
        if names != {f"agents.gateway.{key}"}:
            failures.append((line, names))
    assert not failures


def test_all_problems_of_a_file_are_reported_at_once(load: Load) -> None:
    text = "windows = 1\n" + GATEWAY.replace("url", "uri") + SMTP.replace("host", "hots")
    assert [key for key, _ in problems(load, text)] == [
        "windows",
        "agents.gateway.settings.url",
        "agents.gateway.settings.uri",
        "agents.smtp.settings.host",
        "agents.smtp.settings.hots",
    ]


def test_problem_does_not_show_the_value_which_may_be_a_secret(
    load: Load, environment: pytest.MonkeyPatch
) -> None:
    environment.setenv("SECRET", "hunter2")
    text = GATEWAY.replace("url =", 'token = "${SECRET}"\nurl =').replace("http://", "${SECRET}://")
    with pytest.raises(AgentsError) as raised:
        load(text)
    assert "hunter2" not in str(raised.value)


def test_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    file = tmp_path / "agents.toml"
    with pytest.raises(AgentsError, match=rf"^{file}: No such file"):
        Agents.load(file)
    for content in (b"[agents", b"\xff", b"a = 1\na = 2"):
        file.write_bytes(content)
        with pytest.raises(AgentsError, match=rf"^{file}: "):
            Agents.load(file)


def test_values_are_expanded_from_the_environment(
    load: Load, environment: pytest.MonkeyPatch
) -> None:
    rows: list[tuple[dict[str, str], str, str]] = [
        ({"HOST": "a"}, "${HOST}", "a"),
        ({"HOST": "a", "DOMAIN": "example.com"}, "${HOST}.${DOMAIN}", "a.example.com"),
        ({"HOST": "a"}, "${HOST:-b}", "a"),
        ({}, "${HOST:-b}", "b"),
        ({"HOST": ""}, "${HOST:-b}", "b"),
        ({"HOST": "${OTHER}"}, "${HOST}", "${OTHER}"),
        ({}, "$HOST", "$HOST"),
    ]
    failures = []
    for variables, text, expected in rows:
        environment.delenv("HOST", raising=False)
        for name, content in variables.items():
            environment.setenv(name, content)
        agents = load(GATEWAY.replace("url =", f'key = "{text}"\nurl ='))
        if (found := agents.by_name["gateway"].settings["key"]) != expected:
            failures.append((variables, text, found))
    assert not failures


def test_every_missing_variable_is_reported_with_its_key(
    load: Load, environment: pytest.MonkeyPatch
) -> None:
    for name in ("FIRST", "SECOND"):
        environment.delenv(name, raising=False)
    text = GATEWAY.replace("http:", "${FIRST}:") + "[[routes]]\nagent = '${SECOND}'"
    assert problems(load, text) == [
        ("agents.gateway.settings.url", "the environment variable FIRST is not set"),
        ("routes.agent", "the environment variable SECOND is not set"),
    ]


def test_profile_overrides_the_settings_of_its_agent(load: Load) -> None:
    profile = '[agents.gateway.profiles.eu]\nsettings = { url = "http://127.0.0.2:9/" }'
    agents = load(GATEWAY + profile)
    assert "127.0.0.2" in str(agents.connector("gateway", "eu").settings)
    with pytest.raises(KeyError):
        agents.connector("gateway", "default")


def test_agent_serves_all_channels_of_its_connector_by_default(load: Load) -> None:
    assert load(GATEWAY).by_name["gateway"].channels == {"sms", "mms"}
    text = GATEWAY.replace('"gateway"\n', '"gateway"\nchannels = ["mms"]\n')
    assert load(text).by_name["gateway"].channels == {"mms"}


def test_agent_may_hold_uncertain_messages_but_not_resend_what_its_connector_holds(
    load: Load,
) -> None:
    agents = load(GATEWAY + SBA).by_name
    assert {name: agent.on_uncertain for name, agent in agents.items()} == {
        "gateway": "retry",
        "sba": "hold",
    }
    stricter = GATEWAY.replace("connector", 'on_uncertain = "hold"\nconnector')
    assert load(stricter).by_name["gateway"].on_uncertain == "hold"
    [(key, reason)] = problems(load, SBA.replace("connector", 'on_uncertain = "retry"\nconnector'))
    assert key == "agents.sba.on_uncertain"
    assert reason.startswith("must be hold.")


def test_send_lease_covers_the_slowest_profile(load: Load) -> None:
    profiles = (
        "[agents.smtp.profiles]\n"
        "fast = { settings = { total_timeout_seconds = 60 } }\n"
        "slow = { settings = { total_timeout_seconds = 600 } }\n"
    )
    assert load(SMTP + profiles).send_lease("smtp") == timedelta(seconds=600) + SEND_GRACE


def test_limits_of_an_agent_and_of_its_profile_both_apply(load: Load) -> None:
    profiles = '[agents.gateway.profiles]\neu = { rate_limits = ["1/second", "2/minute"] }\nus={}\n'
    limited = GATEWAY.replace("[agents.gateway.s", 'rate_limits = ["9/hour"]\n[agents.gateway.s')
    agents = load(limited + profiles + SECOND)
    own, of_profile = (parse("9/hour"),), (parse("1/second"), parse("2/minute"))
    assert agents.rate_limits("gateway", "eu") == {"gateway": own, "gateway/eu": of_profile}
    assert agents.rate_limits("gateway", "removed") == {"gateway": own}
    assert agents.is_rate_limited("gateway")
    assert not agents.is_rate_limited("second")
    assert load(GATEWAY + profiles).is_rate_limited("gateway"), "by the limit of a profile"


def test_default_sender_comes_from_the_settings(load: Load) -> None:
    agents = load(GATEWAY + SMTP)
    assert agents.default_sender("smtp", "default") == "Us <us@example.com>"
    assert agents.default_sender("gateway", "default") is None
