"""How the sandbox misbehaves: by rules set through `PUT /control`, and by magic recipients.

A rule wins over a magic recipient, a rule for a recipient over one for everybody (`*`), and a
rule for a kind over one for every kind. `{"do": {}}` is a rule too: answer as usual.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, PositiveFloat, PositiveInt, model_validator

EVERY = "*"
TRIES_REMEMBERED = 100_000


class Behaviour(BaseModel):
    """What to do with a message: as usual when empty, else exactly one of `status`,
    `slow_seconds`, `hang` and `drop`. The other fields refine `status`.

    `status` is an HTTP or an SMTP code. `at` and `enhanced` (RFC 3463) are for SMTP.
    `drop` closes the connection without an answer: `before` keeping the message or `after` it.
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
    def _one_thing(self) -> Self:
        chosen = self.model_fields_set & {"status", "slow_seconds", "hang", "drop"}
        refinements = self.model_fields_set & {"retry_after_seconds", "body", "enhanced", "at"}
        if len(chosen) > 1:
            raise ValueError(f"choose one of {', '.join(sorted(chosen))}")
        if refinements and "status" not in chosen:
            raise ValueError(f"{', '.join(sorted(refinements))} needs status")
        return self


AS_USUAL = Behaviour()


class Rule(BaseModel):
    """One control call: `do` this for `to` at `kind`, the next `times` times or (None) always."""

    model_config = ConfigDict(extra="forbid")

    to: Annotated[str, Field(min_length=1)]
    kind: str = EVERY
    do: Behaviour
    times: PositiveInt | None = None


@dataclass(frozen=True, slots=True)
class Magic:
    """What a magic recipient does, on each try or on the first few of a message only."""

    says: str
    behaviour: Behaviour
    first_tries: int | None = None


# By the last four digits. A try is known by its Idempotency-Key (without one, by its recipient).
MAGIC_NUMBERS = {
    "0400": Magic("answers 400", Behaviour(status=400)),
    "0429": Magic("answers 429, Retry-After 2 s", Behaviour(status=429, retry_after_seconds=2)),
    "0500": Magic("answers 500 twice, then accepts", Behaviour(status=500), first_tries=2),
    "0503": Magic("always answers 503", Behaviour(status=503)),
    "0099": Magic("never answers", Behaviour(hang=True)),
    "0098": Magic("answers after 5 s", Behaviour(slow_seconds=5)),
    "0097": Magic(
        "accepts, then drops the connection (first try only)",
        Behaviour(drop="after"),
        first_tries=1,
    ),
}

# By local part, whatever the domain; what follows a + is ignored. RFC 6647: a greylisting server
# knows a try by sender and recipient, so greylist+2@ is new to it.
MAGIC_MAILBOXES = {
    "reject": Magic("550 5.1.1, no such user", Behaviour(status=550, enhanced="5.1.1")),
    "greylist": Magic(
        "451 4.7.1 on the first try, then accepts",
        Behaviour(status=451, enhanced="4.7.1"),
        first_tries=1,
    ),
    "unavailable": Magic(
        "421 4.3.2 and closes the connection", Behaviour(status=421, enhanced="4.3.2")
    ),
    "slow": Magic("accepts after 5 s", Behaviour(slow_seconds=5)),
    "hang": Magic("never answers", Behaviour(hang=True)),
    "drop": Magic(
        "accepts, then drops the connection (first try only)",
        Behaviour(drop="after"),
        first_tries=1,
    ),
}


class Rules:
    """The rules in force. Raises ValueError for a rule of a kind that nobody plays."""

    def __init__(self, kinds: Iterable[str], *, magic: bool) -> None:
        self._kinds = {EVERY, *kinds}
        self._magic = magic
        self.clear()

    def clear(self) -> None:
        """Forgets the rules, and which messages the magic recipients have seen."""
        self._rules: dict[tuple[str, str], Rule] = {}
        self._tries: dict[tuple[str, str, str], int] = {}

    def put(self, rule: Rule) -> None:
        """Sets a rule in place of the one for the same recipient and kind."""
        if rule.kind not in self._kinds:
            raise ValueError(f"kind: expected one of {', '.join(sorted(self._kinds))}")
        self._rules[rule.to.casefold(), rule.kind] = rule

    def in_force(self) -> list[dict[str, Any]]:
        """The rules as JSON; `times` is what is left of them."""
        return [
            {**rule.model_dump(), "do": rule.do.model_dump(exclude_unset=True)}
            for rule in self._rules.values()
        ]

    def choose(self, kind: str, to: str, key: str) -> Behaviour:
        """How to treat this try; uses up one of the rule's `times`. `key` tells the tries of
        one message from those of another."""
        recipient = to.casefold()
        if self._rules:
            for wanted in (
                (recipient, kind),
                (recipient, EVERY),
                (EVERY, kind),
                (EVERY, EVERY),
            ):
                if rule := self._rules.get(wanted):
                    self._use_up(wanted, rule)
                    return rule.do
        return self._magic_behaviour(kind, recipient, key) if self._magic else AS_USUAL

    def _use_up(self, at: tuple[str, str], rule: Rule) -> None:
        if rule.times is None:
            return
        rule.times -= 1
        if rule.times == 0:
            del self._rules[at]

    def _magic_behaviour(self, kind: str, recipient: str, key: str) -> Behaviour:
        if kind == "smtp":
            mailbox = recipient.partition("@")[0].partition("+")[0]
            magic = MAGIC_MAILBOXES.get(mailbox)
        else:
            magic = MAGIC_NUMBERS.get(recipient[-4:])
        if magic is None:
            return AS_USUAL
        if magic.first_tries is None:
            return magic.behaviour
        tries = self._count_try((kind, recipient, key))
        return magic.behaviour if tries <= magic.first_tries else AS_USUAL

    def _count_try(self, identity: tuple[str, str, str]) -> int:
        tries = self._tries[identity] = self._tries.get(identity, 0) + 1
        if len(self._tries) > TRIES_REMEMBERED:
            del self._tries[next(iter(self._tries))]
        return tries
