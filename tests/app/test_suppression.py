"""The suppression list: one entry an address, found however the address is written."""

from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from sqlalchemy import Connection, text
from sqlalchemy.exc import IntegrityError

from app import addresses, db, suppression
from app.models import CHANNELS, SUPPRESSION_REASONS
from app.suppression import Entry, Key, Reason

PHONE = "+4915112345678"
TOKEN = "fcm:Token"


def add(connection: Connection, key: Key, reason: Reason = "manual") -> tuple[Entry, bool]:
    return suppression.add(connection, key, reason=reason, by="ann")


@pytest.mark.parametrize(
    ("channel", "address", "key"),
    [
        ("sms", PHONE, ("phone", PHONE)),
        ("mms", PHONE, ("phone", PHONE)),
        ("sms", f"whatsapp:{PHONE}", ("phone", f"whatsapp:{PHONE}")),
        ("email", "Ann.B@example.com", ("email", "ann.b@example.com")),
        ("email", "Ann <Ann@example.com>", ("email", "ann@example.com")),
        ("email", '"B, \\"<x@y.z>\\"" <B@example.com>', ("email", "b@example.com")),
        ("email", "ÄNN@bücher.example", ("email", "Änn@bücher.example")),
        ("push", TOKEN, ("push", TOKEN)),
        ("http", "A <b>", ("http", "A <b>")),
        ("payment", "Order 1", ("payment", "Order 1")),
    ],
)
def test_python_and_postgresql_know_an_address_by_the_same_key(
    connection: Connection, channel: str, address: str, key: Key
) -> None:
    kept = addresses.normalise(channel, address)
    assert suppression.key(channel, kept) == key
    assert _key_of_postgresql(connection, channel, kept) == key


LOCAL_PART = st.text(
    st.characters(codec="utf-8", categories=["L", "N"], include_characters=".!#$%&'*+-/=?^_`{|}~"),
    min_size=1,
    max_size=12,
)
NAME = st.text(st.characters(codec="utf-8", exclude_categories=["C"]), max_size=12)


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(local=LOCAL_PART, domain=st.sampled_from(["EXAMPLE.com", "bücher.example"]), name=NAME)
def test_so_they_do_of_whatever_can_be_an_e_mail_address(
    connection: Connection, local: str, domain: str, name: str
) -> None:
    quoted = name.replace("\\", "\\\\").replace('"', '\\"')
    try:
        kept = addresses.normalise("email", f'"{quoted}" <{local}@{domain}>')
    except ValueError:
        assume(False)
    assert _key_of_postgresql(connection, "email", kept) == suppression.key("email", kept)


def _key_of_postgresql(connection: Connection, channel: str, address: str) -> Key:
    family, found = connection.execute(
        text("SELECT channel_family(:channel), address_key(:channel, :address)"),
        {"channel": channel, "address": address},
    ).one()
    return family, found


def test_every_channel_has_the_same_family_in_both(connection: Connection) -> None:
    for channel in CHANNELS:
        family, _ = _key_of_postgresql(connection, channel, "x")
        assert family == addresses.family(channel)


def test_what_is_added_is_found_until_it_is_removed(connection: Connection) -> None:
    entry, is_new = suppression.add(
        connection,
        ("phone", PHONE),
        reason="opt_out",
        by="ann",
        detail="STOP",
        agent="gateway",
    )
    assert is_new
    assert (entry.channel_family, entry.address, entry.reason) == ("phone", PHONE, "opt_out")
    assert (entry.detail, entry.agent, entry.message_id) == ("STOP", "gateway", None)
    assert entry.created_by == "ann"
    keys: set[Key] = {("phone", PHONE), ("email", PHONE), ("phone", "+4915112345679")}
    assert suppression.find(connection, keys) == {("phone", PHONE): entry}

    assert suppression.remove(connection, entry.id) == entry
    assert suppression.remove(connection, entry.id) is None
    assert suppression.find(connection, keys) == {}


def test_the_first_entry_stays(connection: Connection) -> None:
    first, _ = add(connection, ("email", "ann@example.com"), "complaint")
    assert add(connection, ("email", "ann@example.com"), "manual") == (first, False)
    others: list[Key] = [("http", "ann@example.com"), ("email", "bob@example.com")]
    assert [add(connection, key)[1] for key in others] == [True, True]


def test_of_many_who_add_at_once_one_is_first(database: str) -> None:
    together = Barrier(6)

    def write(number: int) -> list[bool]:
        found = []
        for round_ in range(10):
            together.wait()
            with db.autocommit() as connection:
                found.append(add(connection, ("push", f"token {round_}"))[1])
        return found

    with ThreadPoolExecutor(6) as pool:
        answers = [*pool.map(write, range(6))]
    assert [sum(round_) for round_ in zip(*answers, strict=True)] == [1] * 10


def test_an_entry_says_why_since_when_and_what_to_do(connection: Connection) -> None:
    connection.execute(
        text(
            "INSERT INTO suppressions (id, channel_family, address, reason, detail, created_by,"
            " created_at) VALUES (12, 'phone', :phone, 'opt_out', '21610', 'postroom',"
            " '2026-11-22T14:00:00+01:00')"
        ),
        {"phone": PHONE},
    )
    [entry] = suppression.find(connection, {("phone", PHONE)}).values()
    assert str(entry) == (
        f"{PHONE} is suppressed since 2026-11-22T13:00:00Z: opt_out (21610);"
        " to write to it again, remove suppression 12"
    )


@pytest.mark.parametrize("reason", SUPPRESSION_REASONS)
def test_every_reason_can_be_kept(connection: Connection, reason: Reason) -> None:
    assert add(connection, ("push", TOKEN), reason)[0].reason == reason


def test_no_other_reason_can_be_kept(connection: Connection) -> None:
    with pytest.raises(IntegrityError):
        add(connection, ("push", TOKEN), "mood")


def test_nothing_asked_finds_nothing(connection: Connection) -> None:
    assert suppression.find(connection, set()) == {}
