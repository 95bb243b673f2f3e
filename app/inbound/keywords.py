"""The words by which people end and resume a conversation on the telephone: STOP, START, HELP."""

from collections.abc import Collection, Mapping

from app.settings import Language
from connectors.base import Keyword

# English as the carriers of North America ask for it (CTIA Messaging Principles), the others as
# their words for the same are.
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


def keyword(text: str, languages: Collection[Language]) -> Keyword | None:
    """What `text` asks for where it is one of the words, whatever its case and punctuation."""
    word = "".join(character for character in text.casefold() if character.isalnum())
    for meaning in ("stop", "start", "help"):
        if any(word in WORDS[language][meaning] for language in languages):
            return meaning
    return None
