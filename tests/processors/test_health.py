"""Circuits open, are tried and close as their diagram says; figures come from the window alone."""

from typing import Any

import pytest

from segue.processors.routing.circuit_breaker import (
    CircuitBreaker,
    Window,
    believed,
    counted,
    is_news,
    judged,
    latency_key,
    quantile,
    refusal,
)
from segue.topics.errors import BadInput
from segue.topics.health import Health, Tally

POLICY = CircuitBreaker(window_s=30, failures=0.5, attempts_min=10, open_s=15, probes=2)
BEGIN_MS = 1_000_000


def tally(**changes: Any) -> Tally:
    return Tally(candidate="rooms", worker="one", at_ms=0, **changes)


class Judge:
    """Holds what the stage holds of one candidate."""

    def __init__(self) -> None:
        self.window: Window = ()
        self.health: Health | None = None

    def sees(self, at_s: float, **changes: int) -> Health:
        told, at_ms = tally(**changes), BEGIN_MS + round(at_s * 1000)
        self.window = counted(self.window, told, at_ms, POLICY)
        self.health = judged(self.health, self.window, told, at_ms, POLICY)
        return self.health


def opened() -> Judge:
    judge = Judge()
    assert judge.sees(0, attempts=10, failures=5).state == "open"
    return judge


def test_a_circuit_opens_when_enough_attempts_of_all_workers_failed() -> None:
    judge = Judge()
    assert judge.sees(0, attempts=5, failures=5).state == "closed"
    assert judge.sees(1, attempts=4, failures=0).state == "closed"
    health = judge.sees(2, attempts=1)
    assert (health.state, health.attempts, health.failures) == ("open", 10, 5)
    assert health.until_ms == BEGIN_MS + 17_000


def test_fewer_failures_than_the_share_open_nothing() -> None:
    assert Judge().sees(0, attempts=100, failures=49).state == "closed"


def test_what_is_older_than_the_window_does_not_count() -> None:
    judge = Judge()
    judge.sees(0, attempts=9, failures=9)
    health = judge.sees(31, attempts=9, failures=4)
    assert (health.state, health.attempts, health.failures) == ("closed", 9, 4)


def test_the_window_never_holds_more_than_its_panes() -> None:
    judge = Judge()
    for second in range(1_000):
        judge.sees(second, attempts=1)
    assert len(judge.window) <= 6


def test_an_open_circuit_is_tried_when_its_time_has_come_and_calls_ask_for_it() -> None:
    judge = opened()
    assert judge.sees(14.9, skipped=3).state == "open"
    assert judge.sees(15.1, skipped=3).state == "half_open"


def test_a_failed_probe_opens_it_for_as_long_again() -> None:
    judge = opened()
    judge.sees(16, skipped=1)
    health = judge.sees(17, attempts=1, failures=1, probes=1, probes_failed=1)
    assert (health.state, health.until_ms) == ("open", BEGIN_MS + 32_000)


def test_probes_that_succeed_close_it_and_old_failures_do_not_open_it_again() -> None:
    judge = opened()
    judge.sees(16, skipped=1)
    assert judge.sees(17, attempts=1, probes=1).state == "half_open"
    assert judge.sees(18, attempts=1, probes=1).state == "closed"
    assert judge.sees(19, attempts=1, failures=1).state == "closed"


def test_calls_from_before_that_time_out_while_it_is_tried_are_no_probes() -> None:
    judge = opened()
    judge.sees(16, skipped=1)
    assert judge.sees(17, attempts=20, failures=20).state == "half_open"


def test_a_circuit_that_nobody_publishes_any_more_is_no_longer_believed() -> None:
    health = opened().health
    assert health is not None
    assert "5 of 10 attempts" in refusal(health)
    assert believed(health, health.good_until_ms) == "open"
    assert believed(health, health.good_until_ms + 1) == "closed"
    assert believed(None, 0) == "closed"


def test_figures_are_told_once_a_second_and_another_state_at_once() -> None:
    judge = Judge()
    first = judge.sees(0, attempts=1)
    assert is_news(None, first)
    assert not is_news(first, judge.sees(0.5, attempts=1))
    assert is_news(first, judge.sees(1.0, attempts=1))
    assert is_news(first, judge.sees(0.6, attempts=10, failures=10))


def test_latencies_are_kept_to_a_fifth() -> None:
    for duration_ms in (1.5, 12.0, 340.0, 59_000.0):
        found = quantile({latency_key(duration_ms): 1}, 0.5)
        assert found is not None
        assert duration_ms <= found * 1.01 <= duration_ms * 1.2


def test_a_quantile_is_the_duration_that_so_many_do_not_exceed() -> None:
    latencies = {latency_key(100): 95, latency_key(6_400): 5}
    assert quantile(latencies, 0.5) == quantile(latencies, 0.95) != quantile(latencies, 0.99)
    assert quantile({}, 0.5) is None


def test_settings_that_make_no_sense_are_refused_in_words() -> None:
    with pytest.raises(BadInput, match="share of the attempts"):
        CircuitBreaker(failures=2)
    with pytest.raises(BadInput, match="must be at least 1"):
        CircuitBreaker(probes=0)
