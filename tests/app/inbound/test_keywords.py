"""Opt-out keywords: STOP, START and HELP in the languages of the settings."""

from sqlalchemy import Connection

from app import suppression
from app.inbound.keywords import WORDS, apply_keyword, find_keyword
from app.settings import Language
from connectors.base import Keyword
from tests.app.outbox.driver import Outbox

SENDER: suppression.Key = ("phone", "+4915112345678")


def test_keyword_is_found_regardless_of_case_and_punctuation() -> None:
    rows: dict[str, Keyword | None] = {
        "STOP": "stop",
        "stop": "stop",
        " Stop! ": "stop",
        "Unsubscribe.": "stop",
        "stop all": "stop",
        "START": "start",
        "Yes": "start",
        "HELP?": "help",
        "please stop": None,
        "stopping by": None,
        "Halt": None,
        "отписаться": None,
        "": None,
    }
    assert {text: find_keyword(text, ["en"]) for text in rows} == rows


def test_keywords_are_found_in_the_configured_languages_only() -> None:
    examples: dict[Language, tuple[str, str, str]] = {
        "de": ("Abmelden", "Anmelden", "Hilfe"),
        "en": ("Quit", "Unstop", "Info"),
        "es": ("Baja", "Alta", "Ayuda"),
        "fr": ("Arrêt", "Commencer", "Aide"),
        "it": ("Ferma", "Inizia", "Aiuto"),
        "pt": ("Sair", "Começar", "Ajuda"),
        "ru": ("Стоп", "Старт", "Помощь"),
    }
    assert examples.keys() == WORDS.keys()
    found = {
        language: [find_keyword(text, [language]) for text in texts]
        for language, texts in examples.items()
    }
    assert found == {language: ["stop", "start", "help"] for language in WORDS}
    assert find_keyword("Abmelden", ["en", "ru"]) is None
    assert find_keyword("Abmelden", ["en", "de"]) == "stop"


def apply(connection: Connection, *keywords: Keyword) -> None:
    number = Outbox(connection).one()
    for keyword in keywords:
        apply_keyword(connection, keyword, SENDER, agent="gateway", message_id=number)


def is_suppressed(connection: Connection) -> bool:
    return bool(suppression.find(connection, [SENDER]))


def test_start_ends_what_stop_started(connection: Connection) -> None:
    apply(connection, "start", "stop", "help")
    assert is_suppressed(connection)
    apply(connection, "start")
    assert not is_suppressed(connection)


def test_stop_stays_in_force_when_an_entry_by_hand_is_removed(connection: Connection) -> None:
    by_hand, _ = suppression.add(connection, SENDER, reason="manual", by="ann")
    apply(connection, "stop")
    suppression.remove(connection, by_hand.id)
    assert is_suppressed(connection)
    apply(connection, "start")
    assert not is_suppressed(connection)


def test_start_does_not_remove_a_suppression_for_another_reason(connection: Connection) -> None:
    suppression.add(connection, SENDER, reason="hard_bounce", by="test")
    apply(connection, "stop", "start")
    assert is_suppressed(connection)
