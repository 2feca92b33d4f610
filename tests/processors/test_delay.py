"""Stage delay: what is not yet due is held, in order of time, through any restart."""

from typing import Any

import pytest

from segue.processors.stages import delay as stage
from segue.processors.stages.delay import Delays
from segue.topics.envelope import MAGIC
from segue.topics.flow import Decision, Headers, Publish
from segue.topics.records import Delay, TimerFired
from tests.builders import NOW_MS, reason, received
from tests.driver import Memory


def timer(due_ms: int, task: str = "t", step: int = 0) -> Delay:
    fired = TimerFired(task=task, step=step, fingerprint="p", at_ms=due_ms)
    return Delay(task=task, id=str(step), due_ms=due_ms, topic="events", record=fired)


def fires(delay: Delay, headers: Headers = ()) -> Publish:
    return Publish("events", delay.task, delay.record, headers)


class Held:
    """The stage with its state; what it decides is applied at once."""

    def __init__(self) -> None:
        self.memory = Memory()
        self.stage = Delays(self.memory)

    def take(self, delay: Delay, headers: Headers = (), now_ms: int = NOW_MS) -> Decision:
        return self._apply(self.stage.handle(received("delays", delay, headers=headers), now_ms))

    def tick(self, now_ms: int) -> list[Publish]:
        return self._apply(self.stage.tick(now_ms)).publish

    def _apply(self, decision: Decision) -> Decision:
        self.memory.apply(decision.write)
        return decision


def test_a_delay_fires_when_it_is_due_and_not_before() -> None:
    held, soon = Held(), timer(NOW_MS + 10)
    assert held.take(soon).publish == []
    assert held.stage.due_ms() == NOW_MS + 10
    assert held.tick(NOW_MS + 9) == []
    assert held.tick(NOW_MS + 10) == [fires(soon)]
    assert (held.memory.entries, held.stage.due_ms()) == ({}, None)


def test_a_delay_that_is_due_already_fires_at_once() -> None:
    held = Held()
    assert held.take(timer(NOW_MS)) == Decision([fires(timer(NOW_MS))])
    assert held.memory.entries == {}


def test_delays_fire_in_order_of_time() -> None:
    held = Held()
    delays = [timer(NOW_MS + wait, task) for wait, task in ((300, "a"), (5, "b"), (70_000, "c"), (300, "aa"))]
    for each in delays:
        held.take(each)
    third, first, last, second = delays
    assert held.tick(NOW_MS + 1000) == [fires(first), fires(third), fires(second)]
    assert held.stage.due_ms() == last.due_ms


def test_delays_outlive_the_stage() -> None:
    held, soon = Held(), timer(NOW_MS + 10)
    held.take(soon)
    held.stage = Delays(held.memory)
    assert held.stage.due_ms() == NOW_MS + 10
    assert held.tick(NOW_MS + 10) == [fires(soon)]


def test_a_flood_of_delays_fires_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stage, "FIRED_AT_ONCE_MAX", 2)
    held = Held()
    for step in range(5):
        held.take(timer(NOW_MS + 1, step=step))
    fired: list[int] = []
    while (due_ms := held.stage.due_ms()) is not None:
        fired.append(len(held.tick(due_ms)))
    assert fired == [2, 2, 1]


def test_the_trace_goes_on_with_what_was_delayed() -> None:
    held, trace = Held(), (("traceparent", b"00-1-2-01"), ("tracestate", b"a=1:2"))
    held.take(timer(NOW_MS + 1), (*trace, ("other", b"x")))
    assert held.tick(NOW_MS + 1) == [fires(timer(NOW_MS + 1), trace)]


def test_what_can_not_be_fired_is_put_aside_for_its_tenant() -> None:
    held, tenant = Held(), (("segue-tenant", b"acme"),)
    held.take(timer(NOW_MS + 1), tenant)
    assert held.stage.put_aside(None, "why", NOW_MS) == Decision()
    decision = held.stage.put_aside(None, "why", NOW_MS)
    assert decision is not None
    assert decision.tenant == "acme"
    assert decision.publish[0].headers[0] == tenant[0]


def test_a_redelivered_delay_is_held_once() -> None:
    held = Held()
    assert held.take(timer(NOW_MS + 1)) == held.take(timer(NOW_MS + 1))
    assert held.tick(NOW_MS + 1) == [fires(timer(NOW_MS + 1))]


@pytest.mark.parametrize("body", [{}, {"due_ms": 2**70}, {"topic": "elsewhere"}])
def test_what_can_not_be_delayed_is_a_dead_letter(body: dict[str, Any]) -> None:
    value = timer(NOW_MS + 1).model_copy(update=body) if body else b"{}"
    held = Held()
    [letter] = held.stage.handle(received("delays", value), NOW_MS).publish
    assert letter.topic == "dead-letters"
    assert reason(letter)


def test_what_is_held_and_can_not_be_decrypted_is_kept_and_keeps_nothing_else_back() -> None:
    held = Held()
    held.take(timer(NOW_MS + 10, "sealed"))
    held.take(timer(NOW_MS + 20))
    first = min(held.memory.entries)
    held.memory.entries[first] = MAGIC + bytes([3]) + b"old" + bytes(40)
    assert held.tick(NOW_MS + 30) == [fires(timer(NOW_MS + 20))]
    assert list(held.memory.entries) == [first]
    assert held.stage.due_ms() == NOW_MS + 30 + stage.SEALED_AGAIN_MS


def test_a_trace_that_is_none_does_not_stay_with_the_delay() -> None:
    """It is kept a line each: a line break in it would be read as a header."""
    held, later = Held(), timer(NOW_MS + 5)
    held.take(later, (("traceparent", b"\xff\n\xfe:\n\n"), ("tracestate", b"")))
    held.stage = Delays(held.memory)
    assert held.tick(NOW_MS + 5) == [fires(later)]
