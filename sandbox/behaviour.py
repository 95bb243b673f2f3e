"""How providers fail: by rules set with `PUT /control`, and for magic recipients.

A rule takes precedence over a magic recipient, a rule for one recipient over one for all (`*`), and
a rule for one kind of provider over one for all kinds. The rule `{"do": {}}` means: respond
normally.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, PositiveFloat, PositiveInt, model_validator

ANY = "*"
MAX_REMEMBERED_MESSAGES = 100_000


class Behaviour(BaseModel):
    """How to treat a message: normally if empty, otherwise in exactly one of four ways.

    Attributes:
        status: Refuse it with this HTTP or SMTP status.
        retry_after_seconds: With `status`, the Retry-After header (HTTP).
        body: With `status`, the response body: a text, or any other value as JSON.
        enhanced: With `status`, the enhanced status code (SMTP, RFC 3463).
        at: With `status`, the SMTP command to refuse.
        slow_seconds: Accept it at once, but respond only after this many seconds.
        hang: Never respond.
        drop: Close the connection without a response, `before` or `after` accepting the message.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    status: Annotated[int, Field(ge=400, le=599)] | None = None
    retry_after_seconds: Annotated[int, Field(ge=0)] | None = None
    body: Any = None
    enhanced: Annotated[str, Field(pattern=r"^[45]\.\d{1,3}\.\d{1,3}$")] | None = None
    at: Literal["rcpt", "data"] = "rcpt"
    slow_seconds: PositiveFloat | None = None
    hang: Literal[True] | None = None
    drop: Literal["before", "after"] | None = None

    @model_validator(mode="after")
    def _check_combination(self) -> Self:
        chosen = self.model_fields_set & {"status", "slow_seconds", "hang", "drop"}
        refinements = self.model_fields_set & {"retry_after_seconds", "body", "enhanced", "at"}
        if len(chosen) > 1:
            raise ValueError(f"{', '.join(sorted(chosen))} cannot be combined. Use one of them.")
        if refinements and "status" not in chosen:
            raise ValueError(f"{', '.join(sorted(refinements))} can only be used with status.")
        return self


NORMAL = Behaviour()


class Rule(BaseModel):
    """Treat messages to `to` at `kind` as `do` says, the next `times` times or always (None)."""

    model_config = ConfigDict(extra="forbid")

    to: Annotated[str, Field(min_length=1)]
    kind: str = ANY
    do: Behaviour
    times: PositiveInt | None = None


@dataclass(frozen=True, slots=True)
class Magic:
    """A behaviour of a recipient, for every attempt or only for the first ones of a message."""

    description: str
    behaviour: Behaviour
    first_attempts: int | None = None


# By the last four digits. Attempts of one message share its Idempotency-Key; without one, all
# requests for a recipient count as attempts of one message.
MAGIC_NUMBERS = {
    "0400": Magic("responds 400", Behaviour(status=400)),
    "0429": Magic("responds 429, Retry-After 2 s", Behaviour(status=429, retry_after_seconds=2)),
    "0500": Magic("responds 500 twice, then accepts", Behaviour(status=500), first_attempts=2),
    "0503": Magic("always responds 503", Behaviour(status=503)),
    "0099": Magic("never responds", Behaviour(hang=True)),
    "0098": Magic("responds after 5 s", Behaviour(slow_seconds=5)),
    "0097": Magic(
        "accepts, then drops the connection (first attempt only)",
        Behaviour(drop="after"),
        first_attempts=1,
    ),
}

# By local part, at any domain; anything after a + is ignored. A greylisting server recognizes an
# attempt by sender and recipient (RFC 6647), so greylist+2@ is greylisted anew.
MAGIC_MAILBOXES = {
    "reject": Magic("550 5.1.1, no such user", Behaviour(status=550, enhanced="5.1.1")),
    "greylist": Magic(
        "451 4.7.1 on the first attempt, then accepts",
        Behaviour(status=451, enhanced="4.7.1"),
        first_attempts=1,
    ),
    "unavailable": Magic(
        "421 4.3.2, then closes the connection", Behaviour(status=421, enhanced="4.3.2")
    ),
    "slow": Magic("accepts after 5 s", Behaviour(slow_seconds=5)),
    "hang": Magic("never responds", Behaviour(hang=True)),
    "drop": Magic(
        "accepts, then drops the connection (first attempt only)",
        Behaviour(drop="after"),
        first_attempts=1,
    ),
}


class Rules:
    """The rules in force for providers of these `kinds`, and the magic recipients if wanted."""

    def __init__(self, kinds: Iterable[str], *, magic: bool) -> None:
        self._kinds = {ANY, *kinds}
        self._magic = magic
        self.clear()

    def clear(self) -> None:
        """Delete all rules, and forget the attempts that magic recipients have counted."""
        self._rules: dict[tuple[str, str], Rule] = {}
        self._attempts: dict[tuple[str, str, str], int] = {}

    def put(self, rule: Rule) -> None:
        """Add a rule; it replaces one for the same recipient and kind.

        Raises:
            ValueError: There is no provider of the rule's kind.
        """
        if rule.kind not in self._kinds:
            raise ValueError(f"kind: no such provider. Use one of {', '.join(sorted(self._kinds))}")
        self._rules[rule.to.casefold(), rule.kind] = rule

    def as_json(self) -> list[dict[str, Any]]:
        """Return the rules; `times` is the number of times that are left."""
        return [
            {**rule.model_dump(), "do": rule.do.model_dump(exclude_unset=True)}
            for rule in self._rules.values()
        ]

    def choose(self, kind: str, to: str, key: str) -> Behaviour:
        """Return how to treat this attempt, and use up one of the rule's `times`.

        `key` is the same for all attempts of one message.
        """
        recipient = to.casefold()
        if self._rules:
            for place in (recipient, kind), (recipient, ANY), (ANY, kind), (ANY, ANY):
                if rule := self._rules.get(place):
                    self._use_up(place, rule)
                    return rule.do
        return self._magic_behaviour(kind, recipient, key) if self._magic else NORMAL

    def _use_up(self, place: tuple[str, str], rule: Rule) -> None:
        if rule.times is None:
            return
        rule.times -= 1
        if rule.times == 0:
            del self._rules[place]

    def _magic_behaviour(self, kind: str, recipient: str, key: str) -> Behaviour:
        if kind == "smtp":
            mailbox = recipient.partition("@")[0].partition("+")[0]
            magic = MAGIC_MAILBOXES.get(mailbox)
        else:
            magic = MAGIC_NUMBERS.get(recipient[-4:])
        if magic is None:
            return NORMAL
        if magic.first_attempts is None:
            return magic.behaviour
        attempt = self._count_attempt((kind, recipient, key))
        return magic.behaviour if attempt <= magic.first_attempts else NORMAL

    def _count_attempt(self, message: tuple[str, str, str]) -> int:
        attempt = self._attempts[message] = self._attempts.get(message, 0) + 1
        if len(self._attempts) > MAX_REMEMBERED_MESSAGES:
            del self._attempts[next(iter(self._attempts))]
        return attempt
