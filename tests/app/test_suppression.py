"""The suppression list: an entry for each reason, found however the address is written."""

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from threading import Barrier
from typing import get_args

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from sqlalchemy import Connection, text
from sqlalchemy.exc import IntegrityError

from app import addresses, db, suppression
from app.models import CHANNELS
from app.suppression import Entry, Key, Reason

PHONE = "+4915112345678"
TOKEN = "fcm:Token"


def add(connection: Connection, key: Key, reason: Reason = "manual") -> tuple[Entry, bool]:
    return suppression.add(connection, key, reason=reason, by="ann")


def key_in_sql(connection: Connection, channel: str, address: str) -> Key:
    family, key = connection.execute(
        text("SELECT channel_family(:channel), address_key(:channel, :address)"),
        {"channel": channel, "address": address},
    ).one()
    return family, key


def test_python_and_postgresql_agree_on_the_key_of_an_address(connection: Connection) -> None:
    rows: list[tuple[str, str, Key]] = [
        ("sms", PHONE, ("phone", PHONE)),
        ("mms", PHONE, ("phone", PHONE)),
        ("sms", f"whatsapp:{PHONE}", ("phone", f"whatsapp:{PHONE}")),
        ("sms", f"WhatsApp:{PHONE}", ("phone", f"whatsapp:{PHONE}")),
        ("sms", f"tel:{PHONE}", ("phone", PHONE)),
        ("mms", f"SMSto: tel:{PHONE}", ("phone", PHONE)),
        ("email", "Ann.B@example.com", ("email", "ann.b@example.com")),
        ("email", "Ann <Ann@example.com>", ("email", "ann@example.com")),
        ("email", '"B, \\"<x@y.z>\\"" <B@example.com>', ("email", "b@example.com")),
        ("email", "ÄNN@bücher.example", ("email", "Änn@bücher.example")),
        ("push", TOKEN, ("push", TOKEN)),
        ("http", "A <b>", ("http", "A <b>")),
        ("payment", "Order 1", ("payment", "Order 1")),
    ]
    failures = []
    for channel, address, key in rows:
        stored = addresses.normalise(channel, address)
        keys = suppression.key(channel, stored), key_in_sql(connection, channel, stored)
        if keys != (key, key):
            failures.append((channel, address, keys))
    assert not failures
    assert {channel for channel, *_ in rows} == {*CHANNELS}
    # Of a row that was stored before links were normalised.
    assert key_in_sql(connection, "sms", f"TEL:{PHONE}") == ("phone", PHONE)


LOCAL_PART = st.text(
    st.characters(codec="utf-8", categories=["L", "N"], include_characters=".!#$%&'*+-/=?^_`{|}~"),
    min_size=1,
    max_size=12,
)
NAME = st.text(st.characters(codec="utf-8", exclude_categories=["C"]), max_size=12)


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(local=LOCAL_PART, domain=st.sampled_from(["EXAMPLE.com", "bücher.example"]), name=NAME)
def test_python_and_postgresql_agree_on_every_email_address(
    connection: Connection, local: str, domain: str, name: str
) -> None:
    quoted = name.replace("\\", "\\\\").replace('"', '\\"')
    try:
        stored = addresses.normalise("email", f'"{quoted}" <{local}@{domain}>')
    except ValueError:
        assume(False)
    assert key_in_sql(connection, "email", stored) == suppression.key("email", stored)


def test_entry_is_found_until_it_is_removed(connection: Connection) -> None:
    assert suppression.find(connection, set()) == {}
    entry, is_new = suppression.add(
        connection, ("phone", PHONE), reason="opt_out", by="ann", detail="STOP", agent="gateway"
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


def test_existing_entry_is_not_changed(connection: Connection) -> None:
    first, _ = add(connection, ("email", "ann@example.com"), "complaint")
    assert add(connection, ("email", "ann@example.com"), "complaint") == (first, False)
    others: list[Key] = [("http", "ann@example.com"), ("email", "bob@example.com")]
    assert [add(connection, key)[1] for key in others] == [True, True]


def test_each_reason_is_an_entry_of_its_own_and_the_strongest_is_shown(
    connection: Connection,
) -> None:
    key = ("phone", PHONE)
    entries = {reason: add(connection, key, reason)[0] for reason in reversed(get_args(Reason))}
    assert len({entry.id for entry in entries.values()}) == len(entries)
    for reason in get_args(Reason):
        assert suppression.find(connection, [key]) == {key: entries[reason]}
        suppression.remove(connection, entries[reason].id)
    assert suppression.find(connection, [key]) == {}


def test_expired_entry_is_not_in_force_and_can_be_added_again(connection: Connection) -> None:
    key = ("phone", PHONE)
    now = datetime.now(UTC)
    find = text("SELECT reason FROM find_suppressions('sms', :addresses)")
    for offset, is_in_force in ((timedelta(hours=-1), False), (timedelta(hours=1), True)):
        entry, is_new = suppression.add(
            connection, key, reason="soft_bounce", by="postroom", expires_at=now + offset
        )
        assert is_new
        assert bool(suppression.find(connection, [key])) is is_in_force
        assert bool(connection.execute(find, {"addresses": [PHONE]}).all()) is is_in_force
    assert f"Z until {entry.expires_at:%Y-%m-%dT%H:%M:%SZ}: soft_bounce" in str(entry)

    assert suppression.purge(connection) == 0
    connection.execute(text("UPDATE suppressions SET expires_at = now() - interval '1 second'"))
    assert suppression.purge(connection) == 1


def test_concurrent_additions_create_one_entry(database: str) -> None:
    start = Barrier(6)

    def add_ten(_: int) -> list[bool]:
        found = []
        for number in range(10):
            start.wait()
            with db.autocommit() as connection:
                found.append(add(connection, ("push", f"token {number}"))[1])
        return found

    with ThreadPoolExecutor(6) as pool:
        results = [*pool.map(add_ten, range(6))]
    assert [sum(additions) for additions in zip(*results, strict=True)] == [1] * 10


def test_entry_says_since_when_why_and_what_to_do(connection: Connection) -> None:
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
        f"{PHONE} has been suppressed since 2026-11-22T13:00:00Z: opt_out (21610)."
        " To send to it again, remove suppression 12."
    )
    without_detail, _ = add(connection, ("push", TOKEN))
    assert "Z: manual. To send" in str(without_detail)


def test_database_accepts_the_known_reasons_only(connection: Connection) -> None:
    for reason in get_args(Reason):
        assert add(connection, ("push", reason), reason)[0].reason == reason
    with pytest.raises(IntegrityError):
        add(connection, ("push", TOKEN), "mood")  # type: ignore[arg-type]
