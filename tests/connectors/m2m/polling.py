from collections.abc import Sequence
from datetime import UTC, datetime
from xml.etree import ElementTree as ET

from connectors.base import Receipt, SendError, SentMessage
from connectors.m2m.connector import M2m
from tests.connectors.m2m.soap_bodies import RECIPIENT


def sent(*ids: str) -> list[SentMessage]:
    sent_at = datetime(2026, 11, 22, tzinfo=UTC)
    return [SentMessage(one, f"uid-{one}", "sms", RECIPIENT, sent_at) for one in ids]


def poll(connector: M2m, *ids: str) -> Sequence[Receipt] | SendError:
    """Poll the messages with these ids and return what `poll` returned or raised."""
    try:
        return connector.poll(sent(*ids))
    except SendError as error:
        return error


def requested_ids(body: bytes) -> list[str]:
    """Return the ids in a status request over SOAP."""
    return [element.text or "" for element in ET.fromstring(body).iterfind(".//{*}long")]
