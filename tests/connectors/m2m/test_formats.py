from datetime import UTC, datetime

from connectors.m2m.formats import e164, parse_timestamp


def test_numbers_are_converted_to_e164_and_names_are_not():
    table = {"79161234567": "+79161234567", "900": "900", "MTS": "MTS", "": ""}

    assert {number: e164(number) for number in table} == table


def test_timestamp_without_an_offset_or_a_real_date_is_none():
    assert parse_timestamp("2026-11-22T15:00:00.1234567+03:00") == datetime(
        2026, 11, 22, 12, 0, 0, 123456, tzinfo=UTC
    )
    invalid = [
        "2026-11-22T15:00:00",
        "0001-01-01T00:00:00Z",
        "0001-01-01T00:00:00+03:00",
        "9999-12-31T23:59:59-03:00",
        "soon",
        "",
        None,
        1,
    ]
    assert [text for text in invalid if parse_timestamp(text) is not None] == []
