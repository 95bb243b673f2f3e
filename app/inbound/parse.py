"""Parse the webhooks and e-mails that were stored unparsed, and store what they contain."""

import logging

from sqlalchemy.exc import OperationalError

from app import leases
from app.agents import Agents
from app.db import transaction
from app.inbound import unparsed, webhooks
from app.inbound.parser import ParseError, Parser
from app.inbound.unparsed import Unparsed

log = logging.getLogger(__name__)

MAX_ATTEMPTS = 3
MAX_PROCESSES = 2
"""How many processes of all workers together may parse at the same time."""


def parse_all(agents: Agents) -> int:
    """Parse everything that is due, and return how many webhooks and e-mails that were.

    Does nothing while `MAX_PROCESSES` others parse.
    """
    for number in range(1, MAX_PROCESSES + 1):
        with leases.hold(f"parse {number}") as is_held:
            if is_held:
                return _parse_all(agents)
    return 0


def _parse_all(agents: Agents) -> int:
    parsed = 0
    with Parser() as parser:
        while one := _claim():
            try:
                parsed += _parse(agents, parser, one)
            except ParseError as error:
                _fail(one, str(error))
    return parsed


def _claim() -> Unparsed | None:
    with transaction() as connection:
        return unparsed.claim(connection)


def _parse(agents: Agents, parser: Parser, one: Unparsed) -> bool:
    """Parse one and store its contents. Returns False if they could not be stored this time."""
    if one.attempts > MAX_ATTEMPTS:
        raise ParseError(f"not stored after {MAX_ATTEMPTS} attempts")
    agent = agents.by_name.get(one.agent)
    if agent is None or one.profile not in agent.profiles:
        raise ParseError(f"agent {one.agent}: the profile {one.profile} is not configured")
    items = parser.parse(one.agent, one.profile, one.content)
    try:
        with transaction() as connection:
            if not unparsed.finish(connection, one):
                return False
            stored = webhooks.store(connection, agents, one.agent, one.profile, items)
    except OperationalError:
        raise  # the database is out of reach
    except Exception:
        log.exception("agent %s: cannot store inbound %s; will retry", one.agent, one.id)
        return False
    log.info(
        "agent %s: inbound %s parsed: %s new receipts, %s new messages",
        one.agent,
        one.id,
        stored.receipts,
        stored.messages,
    )
    return True


def _fail(one: Unparsed, reason: str) -> None:
    with transaction() as connection:
        unparsed.fail(connection, one, reason)
    log.error("agent %s: cannot parse inbound %s: %s", one.agent, one.id, reason)
