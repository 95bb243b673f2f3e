"""agents.toml: what may stand in it, and which agent a message takes."""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

import pytest

from app.agents import Agents, AgentsError, Retry, UnroutableError
from app.agents.registry import SEND_GRACE
from app.limits import parse

GATEWAY = """
[agents.gateway]
connector = "gateway"
[agents.gateway.settings]
url = "http://127.0.0.1:9/"
"""
SECOND = GATEWAY.replace("agents.gateway", "agents.second")
SMTP = """
[agents.smtp]
connector = "smtp"
settings = { host = "127.0.0.1", security = "plain", sender = "Us <us@example.com>" }
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "agents.toml"


@contextmanager
def loaded(file: Path, text: str) -> Iterator[Agents]:
    file.write_text(text, "utf-8")
    agents = Agents.load(file)
    try:
        yield agents
    finally:
        agents.close()


@pytest.mark.parametrize(
    ("text", "key", "why"),
    [
        ("", "agents", "at least one"),
        ("agents = 3", "agents", "at least one"),
        ("[agents]", "agents", "at least one"),
        ('[agents]\nx = "gateway"', "agents.x.connector", "no connector is called"),
        ("[agents.x]", "agents.x.connector", "no connector is called"),
        ("[agents.x]\nconnector = 7", "agents.x.connector", "no connector is called '7'"),
        ('[agents.x]\nconnector = "pigeon"', "agents.x.connector", "'pigeon'; there are: .*smtp"),
        (GATEWAY.replace("agents.gateway", 'agents."No"'), "agents.No.code", "pattern"),
        (GATEWAY.replace("gateway.settings", "gateway.setings"), "agents.gateway.setings", "Extra"),
        (GATEWAY.replace("url", "uri"), "agents.gateway.settings.url", "required .profile default"),
        (GATEWAY.replace("url", "x = 1\nurl"), "agents.gateway.settings.x", "Extra"),
        ("routes = 3\n" + GATEWAY, "routes", r"\[\[routes\]\]"),
        ("route = []\n" + GATEWAY, "route", "no such table"),
        (GATEWAY + "[[routes]]\nagent = 'smtp'", "routes[1].agent", "there is no agent smtp"),
        (GATEWAY + "[[routes]]\nchannel = 'sms'", "routes[1].agent", "required"),
        (GATEWAY + "[[routes]]\nagent = { gateway = 0 }", "routes[1].agent.", "greater than 0"),
        (GATEWAY + "[[routes]]\nagent = 'gateway'\nchanel = 'sms'", "routes[1].chanel", "Extra"),
        (GATEWAY + "[[routes]]\nagent = 'gateway'\nchannel = 'fax'", "routes[1].channel", "sms"),
    ],
)
def test_what_cannot_be_used_is_named(file: Path, text: str, key: str, why: str) -> None:
    with pytest.raises(AgentsError, match=why) as raised, loaded(file, text):
        pass
    assert str(raised.value).startswith(f"{file}: {key}")


@pytest.mark.parametrize(
    ("line", "key"),
    [
        ('code = "other"', "code"),
        ('channels = ["fax"]', "channels.0"),
        ('channels = ["sms", "email"]', "channels"),
        ("max_in_flight = 0", "max_in_flight"),
        ('max_in_flight = "many"', "max_in_flight"),
        ('rate_limits = ["10/fortnight"]', "rate_limits.0"),
        ('rate_limits = ["0/second"]', "rate_limits.0"),
        ('over_limit = "drop"', "over_limit"),
        ('worker_rate_limit = "fast"', "worker_rate_limit"),
        ('on_uncertain = "ask"', "on_uncertain"),
        ("retry = { attempts = 0 }", "retry.attempts"),
        ("retry = { base_seconds = 0 }", "retry.base_seconds"),
        ("retry = { base_seconds = inf }", "retry.base_seconds"),
        ("retry = { cap_seconds = inf }", "retry.cap_seconds"),
        ("retry = { cap_seconds = 1e12 }", "retry.cap_seconds"),
        ("retry = { factor = 0.5 }", "retry.factor"),
        ("retry = { factor = 1e9 }", "retry.factor"),
        ("retry = { jitter = 1.0 }", "retry.jitter"),
        ("retry = { jitter = nan }", "retry.jitter"),
        ("retry = { tries = 3 }", "retry.tries"),
        ("profiles = { eu = { settings = { key = 3 } } }", "settings.key"),
        ('profiles = { eu = { rate_limits = ["x"] } }', "profiles.eu.rate_limits.0"),
    ],
)
def test_a_bad_key_of_an_agent_is_named(file: Path, line: str, key: str) -> None:
    text = GATEWAY.replace("[agents.gateway.settings]", f"{line}\n[agents.gateway.settings]")
    with pytest.raises(AgentsError) as raised, loaded(file, text):
        pass
    assert {fault.split(": ")[1] for fault in str(raised.value).splitlines()} == {
        f"agents.gateway.{key}"
    }


SBA = """
[agents.sba]
connector = "sba"
settings = { token = "t" }
"""


def test_an_agent_does_after_an_uncertain_send_what_its_connector_says(file: Path) -> None:
    with loaded(file, GATEWAY + SBA) as agents:
        usual = {code: agent.on_uncertain for code, agent in agents.by_name.items()}

    assert usual == {"gateway": "retry", "sba": "hold"}


def test_an_agent_may_be_more_careful_than_its_connector_but_not_less(file: Path) -> None:
    hold, retry = 'on_uncertain = "hold"\n', 'on_uncertain = "retry"\n'
    with loaded(file, GATEWAY.replace("connector", hold + "connector")) as agents:
        assert agents.by_name["gateway"].on_uncertain == "hold"

    with (
        pytest.raises(AgentsError, match=r"agents\.sba\.on_uncertain: must be hold"),
        loaded(file, SBA.replace("connector", retry + "connector")),
    ):
        pass


def test_every_fault_of_the_file_is_told_at_once(file: Path) -> None:
    text = "windows = 1\n" + GATEWAY.replace("url", "uri") + SMTP.replace("host", "hots")
    with pytest.raises(AgentsError) as raised, loaded(file, text):
        pass
    assert [fault.split(": ")[1] for fault in str(raised.value).splitlines()] == [
        "windows",
        "agents.gateway.settings.url",
        "agents.gateway.settings.uri",
        "agents.smtp.settings.host",
        "agents.smtp.settings.hots",
    ]


def test_the_value_that_is_wrong_is_not_told_since_it_may_be_a_secret(
    file: Path, environment: pytest.MonkeyPatch
) -> None:
    environment.setenv("SECRET", "hunter2")
    text = GATEWAY.replace("url =", 'token = "${SECRET}"\nurl =').replace("http://", "${SECRET}://")
    with pytest.raises(AgentsError) as raised, loaded(file, text):
        pass
    assert "hunter2" not in str(raised.value)


@pytest.mark.parametrize("content", [b"[agents", b"\xff", b"a = 1\na = 2"])
def test_a_file_that_is_no_toml_is_named(file: Path, content: bytes) -> None:
    file.write_bytes(content)
    with pytest.raises(AgentsError, match=rf"^{file}: "):
        Agents.load(file)


def test_a_file_that_is_not_there_is_named(file: Path) -> None:
    with pytest.raises(AgentsError, match=rf"^{file}: No such file"):
        Agents.load(file)


def test_a_file_that_a_connector_needs_and_cannot_read_is_named(file: Path) -> None:
    text = SMTP.replace("host", f'ca_file = "{file.parent}/absent.pem", host')
    with pytest.raises(AgentsError, match=r"agents\.smtp\.settings"), loaded(file, text):
        pass


@pytest.mark.parametrize(
    ("variables", "text", "value"),
    [
        ({"HOST": "a"}, "${HOST}", "a"),
        ({"HOST": "a", "DOMAIN": "example.com"}, "${HOST}.${DOMAIN}", "a.example.com"),
        ({"HOST": "a"}, "${HOST:-b}", "a"),
        ({}, "${HOST:-b}", "b"),
        ({"HOST": ""}, "${HOST:-b}", "b"),
        ({"HOST": "${OTHER}"}, "${HOST}", "${OTHER}"),
        ({}, "$HOST", "$HOST"),
    ],
)
def test_values_come_from_the_environment(
    file: Path,
    environment: pytest.MonkeyPatch,
    variables: dict[str, str],
    text: str,
    value: str,
) -> None:
    environment.delenv("HOST", raising=False)
    for name, content in variables.items():
        environment.setenv(name, content)
    with loaded(file, GATEWAY.replace("url =", f'key = "{text}"\nurl =')) as agents:
        assert agents.by_name["gateway"].settings["key"] == value


def test_every_variable_that_is_not_set_is_named_with_its_key(
    file: Path, environment: pytest.MonkeyPatch
) -> None:
    for name in ("FIRST", "SECOND"):
        environment.delenv(name, raising=False)
    text = GATEWAY.replace("http:", "${FIRST}:") + "[[routes]]\nagent = '${SECOND}'"
    with pytest.raises(AgentsError) as raised, loaded(file, text):
        pass
    assert str(raised.value).splitlines() == [
        f"{file}: agents.gateway.settings.url: the environment variable FIRST is not set",
        f"{file}: routes.agent: the environment variable SECOND is not set",
    ]


def test_a_profile_lays_its_settings_over_those_of_its_agent(file: Path) -> None:
    text = GATEWAY + '[agents.gateway.profiles.eu]\nsettings = { url = "http://127.0.0.2:9/" }'
    with loaded(file, text) as agents:
        assert "127.0.0.2" in str(agents.connector("gateway", "eu").settings)
        with pytest.raises(KeyError):
            agents.connector("gateway", "default")


def test_an_agent_serves_what_its_connector_can_unless_it_says_less(file: Path) -> None:
    with loaded(file, GATEWAY + SECOND.replace("settings", "x", 0) + SMTP) as agents:
        everything = agents.by_name["gateway"].channels
    assert "sms" in everything
    text = GATEWAY.replace('"gateway"\n', '"gateway"\nchannels = ["mms"]\n')
    with loaded(file, text) as agents:
        assert agents.by_name["gateway"].channels == {"mms"}


def test_a_worker_may_hold_a_message_for_longer_than_its_slowest_connector_takes(
    file: Path,
) -> None:
    text = SMTP + (
        "[agents.smtp.profiles]\n"
        "fast = { settings = { total_timeout_seconds = 60 } }\n"
        "slow = { settings = { total_timeout_seconds = 600 } }\n"
    )
    with loaded(file, text) as agents:
        assert agents.send_lease("smtp") == timedelta(seconds=600) + SEND_GRACE


def test_the_limits_of_an_agent_and_of_its_profile_both_count(file: Path) -> None:
    text = GATEWAY.replace("[agents.gateway.s", 'rate_limits = ["9/hour"]\n[agents.gateway.s') + (
        '[agents.gateway.profiles]\neu = { rate_limits = ["1/second", "2/minute"] }\nus = {}\n'
    )
    with loaded(file, text + SECOND) as agents:
        assert agents.rate_limits("gateway", "eu") == {
            "gateway": (parse("9/hour"),),
            "gateway/eu": (parse("1/second"), parse("2/minute")),
        }
        assert agents.is_rate_limited("gateway")
        assert not agents.is_rate_limited("second")


def test_a_limit_of_one_profile_makes_its_agent_limited(file: Path) -> None:
    text = GATEWAY + '[agents.gateway.profiles]\neu = { rate_limits = ["1/second"] }\nus = {}\n'
    with loaded(file, text) as agents:
        assert agents.is_rate_limited("gateway")


def test_the_sender_of_the_settings_serves_where_there_is_one(file: Path) -> None:
    with loaded(file, GATEWAY + SMTP) as agents:
        assert agents.default_sender("smtp", "default") == "Us <us@example.com>"
        assert agents.default_sender("gateway", "default") is None


# Routing


def choose(agents: Agents, **wanted: str | None) -> str:
    message: dict[str, str | None] = {
        "channel": "sms",
        "recipient": "+4915112345678",
        "sender": None,
        "asked": None,
    }
    return agents.choose(**{**message, "profile": "default", **wanted}).code  # type: ignore[arg-type]


ROUTES = (
    GATEWAY
    + SECOND
    + SMTP
    + """
[[routes]]
channel = "mms"
agent = "second"

[[routes]]
recipient_prefix = "+49"
agent = "gateway"

[[routes]]
sender_domain = "Shop.Example.com"
agent = "smtp"

[[routes]]
recipient_prefix = "+1"
sender_domain = "example.org"
agent = "smtp"

[[routes]]
agent = "second"
"""
)


@pytest.mark.parametrize(
    ("message", "agent"),
    [
        ({}, "gateway"),
        ({"recipient": "+12025550143"}, "second"),
        ({"channel": "mms"}, "second"),
        ({"asked": "second"}, "second"),
        ({"channel": "mms", "asked": "gateway"}, "gateway"),
        ({"channel": "email", "recipient": "a@b.cd"}, "smtp"),
        ({"channel": "email", "recipient": "a@b.cd", "sender": "S <s@SHOP.example.com>"}, "smtp"),
        ({"recipient": "+12025550143", "sender": "s@shop.example.com"}, "second"),
    ],
    ids=str,
)
def test_a_message_takes_the_agent_it_asks_for_else_the_first_route_that_can(
    file: Path, message: dict[str, str], agent: str
) -> None:
    with loaded(file, ROUTES) as agents:
        assert choose(agents, **message) == agent


def test_a_domain_of_a_route_is_compared_without_case(file: Path) -> None:
    text = SMTP + SMTP.replace("agents.smtp", "agents.shop")
    text += "[[routes]]\nsender_domain = 'Shop.Example.com'\nagent = 'shop'\n"
    text += "[[routes]]\nagent = 'smtp'\n"
    with loaded(file, text) as agents:
        email = {"channel": "email", "recipient": "a@example.com"}
        assert choose(agents, **email, sender="S <s@SHOP.example.COM>") == "shop"
        assert choose(agents, **email, sender="s@example.com") == "smtp"
        assert choose(agents, **email) == "smtp"


def test_the_only_agent_of_a_channel_needs_no_route(file: Path) -> None:
    with loaded(file, GATEWAY + SMTP) as agents:
        assert choose(agents) == "gateway"
        assert choose(agents, channel="email", recipient="a@example.com") == "smtp"


@pytest.mark.parametrize(
    ("message", "field", "reason"),
    [
        ({}, "agent", "several agents serve sms: name one, or add a route"),
        ({"channel": "payment"}, "channel", "no agent serves payment"),
        ({"asked": "pigeon"}, "agent", "no such agent; there are: gateway, second, smtp"),
        ({"asked": "smtp"}, "agent", "does not serve sms; it serves: email"),
        ({"channel": "email", "profile": "x"}, "profile", "agent smtp has no .*it has: default"),
    ],
)
def test_a_message_that_no_agent_can_take_is_told_which_field_to_change(
    file: Path, message: dict[str, str], field: str, reason: str
) -> None:
    with (
        loaded(file, GATEWAY + SECOND + SMTP) as agents,
        pytest.raises(UnroutableError, match=reason) as raised,
    ):
        choose(agents, **message)
    assert raised.value.field == field


def test_a_route_over_several_agents_spreads_by_weight(file: Path) -> None:
    text = GATEWAY + SECOND + SMTP
    text += "[[routes]]\nagent = { gateway = 9, second = 1, smtp = 1000 }"
    with loaded(file, text) as agents:
        chosen = Counter(choose(agents) for _ in range(2000))
    assert set(chosen) == {"gateway", "second"}, "the agent that cannot serve SMS takes none"
    # Binomial with n = 2000, p = 0.1: six standard deviations to either side.
    assert 119 < chosen["second"] < 281


# Retry


@pytest.mark.parametrize(
    ("tries", "seconds"), [(1, 2), (2, 6), (3, 18), (4, 54), (7, 1458), (8, 3600), (10_000, 3600)]
)
def test_the_wait_grows_exponentially_up_to_its_cap(tries: int, seconds: float) -> None:
    assert Retry(jitter=0).wait(tries) == timedelta(seconds=seconds)


def test_no_setting_lets_the_wait_overflow() -> None:
    largest = Retry(base_seconds=1e300, factor=100, cap_seconds=30 * 86400, jitter=0)
    assert largest.wait(10_000) == timedelta(days=30)


def test_jitter_spreads_the_wait_to_both_sides_within_its_bounds() -> None:
    retry = Retry(base_seconds=10, jitter=0.2)
    waits = [retry.wait(1).total_seconds() for _ in range(500)]
    assert all(8 <= wait <= 12 for wait in waits)
    assert min(waits) < 10 < max(waits)
    assert len(set(waits)) > 100
