"""Opt-out keywords: a person who texts STOP gets no more messages until they text START."""

from collections.abc import Collection, Mapping

from sqlalchemy import Connection

from app import suppression
from app.settings import Language
from connectors.base import Keyword

# English: the keywords that North American carriers require (CTIA Messaging Principles). The other
# languages: their usual words for the same.
WORDS: Mapping[Language, Mapping[Keyword, frozenset[str]]] = {
    "de": {
        "stop": frozenset({"stop", "stopp", "abmelden", "abbestellen", "ende"}),
        "start": frozenset({"start", "anmelden"}),
        "help": frozenset({"hilfe", "info"}),
    },
    "en": {
        "stop": frozenset(
            {"stop", "stopall", "unsubscribe", "cancel", "end", "quit", "revoke", "optout"}
        ),
        "start": frozenset({"start", "unstop", "yes"}),
        "help": frozenset({"help", "info"}),
    },
    "es": {
        "stop": frozenset({"parar", "baja", "cancelar", "alto"}),
        "start": frozenset({"empezar", "alta"}),
        "help": frozenset({"ayuda", "info"}),
    },
    "fr": {
        "stop": frozenset({"stop", "arret", "arrêt", "desabonner", "désabonner"}),
        "start": frozenset({"start", "commencer"}),
        "help": frozenset({"aide", "info"}),
    },
    "it": {
        "stop": frozenset({"stop", "ferma", "cancella", "disiscrivi"}),
        "start": frozenset({"start", "inizia"}),
        "help": frozenset({"aiuto", "info"}),
    },
    "pt": {
        "stop": frozenset({"parar", "pare", "sair", "cancelar"}),
        "start": frozenset({"iniciar", "começar"}),
        "help": frozenset({"ajuda", "info"}),
    },
    "ru": {
        "stop": frozenset({"стоп", "отписаться", "отмена"}),
        "start": frozenset({"старт", "начать"}),
        "help": frozenset({"помощь", "инфо"}),
    },
}


def find_keyword(text: str, languages: Collection[Language]) -> Keyword | None:
    """Return the keyword that a text consists of, regardless of case, spaces and punctuation."""
    word = "".join(character for character in text.casefold() if character.isalnum())
    for keyword in ("stop", "start", "help"):
        if any(word in WORDS[language][keyword] for language in languages):
            return keyword
    return None


def apply_keyword(
    connection: Connection,
    keyword: Keyword,
    sender: suppression.Key,
    *,
    agent: str | None,
    message_id: int,
) -> None:
    """Suppress a sender who opts out, or remove their opt-out when they opt in again.

    Suppressions for other reasons, such as a bounce, stay.
    """
    if keyword == "stop":
        suppression.add(
            connection,
            sender,
            reason="opt_out",
            detail="STOP",
            agent=agent,
            message_id=message_id,
            by="recipient",
        )
    elif keyword == "start":
        suppression.remove_reason(connection, sender, "opt_out")
