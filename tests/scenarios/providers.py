"""All providers: their agents, their messages, and how they fail."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from sandbox import api, twilio
from tests.doubles import m2m_messages, oauth_api, sendgrid, sendgrid_webhooks

Do = Mapping[str, Any]
"""A behaviour of the sandbox (sandbox/behaviour.py)."""

LIMITS = """
allow_networks = ["loopback"]
read_timeout_seconds = 5
"""
RETRY = "retry = {{ attempts = 4, base_seconds = 0.1, factor = 1, jitter = 0 }}"


def _agent(name: str, connector: str, settings: str, **more: str) -> str:
    lines = "\n".join(f'{key} = "{value}"' for key, value in more.items())
    return (
        f'[agents.{name}]\nconnector = "{connector}"\n{RETRY}\n{lines}\n'
        f"[agents.{name}.settings]\n{settings.strip()}\n"
    )


AGENTS = "".join(
    [
        _agent(
            "twilio",
            "twilio",
            f"""
base_url = "{{sandbox.http_url}}/twilio"
account_sid = "{twilio.ACCOUNT_SID}"
auth_token = "{twilio.AUTH_TOKEN}"
sender = "+15005550006"
status_callback = "{{url}}/api/webhooks/twilio/status"
{LIMITS}""",
            on_uncertain="hold",
        ),
        _agent(
            "sendgrid",
            "sendgrid",
            f"""
base_url = "{{sandbox.http_url}}/sendgrid"
api_key = "{sendgrid.API_KEY}"
sender = "Shop <shop@example.com>"
event_public_keys = ["{sendgrid_webhooks.PUBLIC_KEY}"]
inbound_public_keys = ["{sendgrid_webhooks.PUBLIC_KEY}"]
{LIMITS}""",
            on_uncertain="hold",
        ),
        _agent(
            "fcm",
            "fcm",
            f"""
base_url = "{{sandbox.http_url}}/fcm"
service_account = "{{folder}}/firebase.json"
{LIMITS}""",
        ),
        _agent(
            "m2m",
            "m2m",
            f"""
url = "{{sandbox.http_url}}/m2m/m2m_api.asmx"
api_key = "{m2m_messages.API_KEY}"
sender = "Postroom"
{LIMITS}""",
            on_uncertain="hold",
        ),
        _agent(
            "marketolog",
            "m2m",
            f"""
mode = "omnichannel"
url = "{{sandbox.http_url}}/m2m/http-api/v1"
login = "{m2m_messages.LOGIN}"
password = "{m2m_messages.PASSWORD}"
sender = "Postroom"
{LIMITS}""",
        ),
        _agent(
            "sba",
            "sba",
            f"""
url = "{{sandbox.http_url}}/sba"
user_name = "sandbox-api"
password = "sandbox-password"
{LIMITS}""",
        ),
        _agent(
            "bank",
            "sba",
            f"""
api = "gateway"
url = "{{sandbox.http_url}}/sba"
token = "sandbox-token"
callback_url = "{{url}}/api/webhooks/bank/status"
webhook_secrets = ["sandbox-callback-key"]
{LIMITS}""",
        ),
        _agent(
            "smtp",
            "smtp",
            """
host = "{sandbox.smtp_host}"
port = {sandbox.smtp_port}
security = "plain"
sender = "Shop <shop@example.com>"
""",
        ),
        _agent("gateway", "gateway", f'url = "{{sandbox.gateway_url}}"\n{LIMITS}'),
        _agent(
            "api",
            "api",
            f"""
uri = "{{sandbox.api_url}}"
signing_secrets = ["{api.SIGNING_SECRET}"]
id_path = "$.id"
{LIMITS}""",
            on_uncertain="hold",
        ),
        _agent(
            "oauth",
            "api",
            f"""
uri = "{{sandbox.http_url}}/oauth-api"
{LIMITS}
[agents.oauth.settings.oauth]
token_url = "{{sandbox.http_url}}/oauth-api/token"
client_id = "{oauth_api.CLIENT_ID}"
client_secret = "{oauth_api.CLIENT_SECRET}"
""",
        ),
    ]
)


@dataclass(frozen=True)
class Refused:
    """A message that the provider rejects, by itself or because of the behaviour `do`."""

    code: str
    do: Do | None = None
    to: str | None = None
    fields: Mapping[str, Any] = field(default_factory=dict)
    suppresses: str | None = None


@dataclass(frozen=True)
class Provider:
    """A provider behind an agent.

    Attributes:
        arrives: The final status of a message that is accepted.
        after_drop: The final status of a message that is accepted without a response, and the
            number of copies that the provider has then.
        misconfigured: A failure that pauses the agent, if it occurs `misconfigured_times`.
        unavailable: A failure that is retried.
    """

    agent: str
    kind: str
    channel: str
    to: str
    refused: Refused
    after_drop: tuple[str, int]
    arrives: str = "sent"
    fields: Mapping[str, Any] = field(default_factory=dict)
    misconfigured: Do = field(default_factory=lambda: {"status": 401})
    misconfigured_times: int = 1
    unavailable: Do = field(default_factory=lambda: {"status": 503})

    def message(self, number: int) -> dict[str, Any]:
        """Return a message to submit; each number has its own recipient."""
        to = self.to.format(number)
        return {"channel": self.channel, "agent": self.agent, "to": to, **self.fields}


SMS = {"body": "Your code is 4711"}
MAIL = {"subject": "Your order", "body": "It is on its way."}
ORDER = {
    "payload": {"operation": "register", "amount": 19900, "returnUrl": "https://shop.example/"}
}
WRONG_CURRENCY = {"payload": {**ORDER["payload"], "currency": "999"}}
# Not a response of the bank itself, but of a server in front of it.
LOCKED_OUT = {"status": 401, "body": "Unauthorized"}
FORBIDDEN = {"status": 403, "body": {"error": {"code": 403, "status": "PERMISSION_DENIED"}}}

PROVIDERS = (
    Provider(
        "twilio",
        "twilio",
        "sms",
        "+1202555{:04d}",
        Refused("21610", {"status": 400, "body": {"code": 21610}}, suppresses="opt_out"),
        after_drop=("delivered", 1),
        arrives="delivered",
        fields=SMS,
        misconfigured={"status": 401, "body": {"code": 20003, "message": "Authenticate"}},
    ),
    Provider(
        "sendgrid",
        "sendgrid",
        "email",
        "ann.{}@example.org",
        Refused("sender_not_verified", fields={"from": "shop@example.net"}),
        after_drop=("delivered", 1),
        arrives="delivered",
        fields=MAIL,
    ),
    Provider(
        "fcm",
        "fcm",
        "push",
        "device-{:08d}",
        Refused("UNREGISTERED", to="unregistered-{:08d}", suppresses="dead_address"),
        after_drop=("sent", 2),
        fields={"subject": "On its way", "body": "Your order comes today."},
        misconfigured=FORBIDDEN,
        unavailable={"status": 500},
    ),
    Provider(
        "m2m",
        "m2m",
        "sms",
        "+7916123{:04d}",
        Refused("MSID_IS_IN_BLACKLIST", to=f"+{m2m_messages.BLACKLISTED}", suppresses="opt_out"),
        after_drop=("unknown", 1),
        fields=SMS,
    ),
    Provider(
        "marketolog",
        "m2m",
        "sms",
        "+7917123{:04d}",
        Refused("400", {"status": 400}),
        after_drop=("sent", 2),
        fields=SMS,
    ),
    Provider(
        "sba",
        "sba",
        "payment",
        "order-{}",
        Refused("3", fields=WRONG_CURRENCY),
        # The second registration finds the order that the first one created.
        after_drop=("sent", 1),
        fields=ORDER,
        misconfigured=LOCKED_OUT,
    ),
    Provider(
        "bank",
        "sba",
        "payment",
        "invoice-{}",
        Refused("3", fields=WRONG_CURRENCY),
        after_drop=("sent", 1),
        fields=ORDER,
        misconfigured=LOCKED_OUT,
    ),
    Provider(
        "smtp",
        "smtp",
        "email",
        "ben.{}@example.org",
        Refused("5.1.1", {"status": 550, "enhanced": "5.1.1"}, suppresses="dead_address"),
        after_drop=("sent", 2),
        fields=MAIL,
        misconfigured={"status": 535, "enhanced": "5.7.8"},
        unavailable={"status": 451, "enhanced": "4.3.0"},
    ),
    Provider(
        "gateway",
        "gateway",
        "mms",
        "+1303555{:04d}",
        Refused("400", {"status": 400}),
        after_drop=("sent", 2),
        fields=SMS,
    ),
    Provider(
        "api",
        "api",
        "http",
        "things/{}",
        Refused("422", {"status": 422}),
        after_drop=("unknown", 1),
        fields={"payload": {"a": 1}},
    ),
    Provider(
        "oauth",
        "oauth-api",
        "http",
        "guarded/{}",
        Refused("422", {"status": 422}),
        after_drop=("sent", 2),
        fields={"payload": {"a": 1}},
        misconfigured_times=2,  # with the stored token, then with a new one
    ),
)
