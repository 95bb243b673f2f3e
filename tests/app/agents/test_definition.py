"""The wait between attempts."""

from datetime import timedelta

from app.agents import Retry


def test_wait_grows_exponentially_up_to_its_cap() -> None:
    seconds = {1: 2, 2: 6, 3: 18, 4: 54, 7: 1458, 8: 3600, 10_000: 3600}
    retry = Retry(jitter=0)
    assert {n: retry.wait(n).total_seconds() for n in seconds} == seconds


def test_largest_settings_do_not_overflow_the_wait() -> None:
    retry = Retry(base_seconds=1e300, factor=100, cap_seconds=30 * 86400, jitter=0)
    assert retry.wait(10_000) == timedelta(days=30)


def test_jitter_spreads_the_wait_to_both_sides() -> None:
    retry = Retry(base_seconds=10, jitter=0.2)
    waits = [retry.wait(1).total_seconds() for _ in range(500)]
    assert all(8 <= wait <= 12 for wait in waits)
    assert min(waits) < 10 < max(waits)
    assert len(set(waits)) > 100
