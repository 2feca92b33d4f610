"""What holds for every workflow of the corpus, wherever it is crashed, evicted or told a thing twice."""

import gc
import random
from collections import Counter
from functools import cache
from typing import Any

import pytest

from segue.processors.app.app import App
from segue.processors.limits import Limits
from segue.processors.stages.conduct import Conduct
from segue.processors.tasks.rebuilding import LostTasks
from segue.streams.testing.replay import Replay
from segue.topics.flow import Headers, Publish
from segue.topics.records import Result, Status
from tests.corpus import APP, CASES, MODELS, Case, driver
from tests.driver import Driver, Memory, watched_executions

each_case = pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)

ECHOES_MAX = 20

OF_ITS_OWN = (
    "group_fails_and_cleans_up",
    "nested_timeouts",
    "anyio_group_is_cancelled",
    "anyio_groups_and_streams",
    "leaves_generators",
    "fails_within_generators",
    "collects_garbage_while_generators_are_open",
)
"""What leaves cycles that are not ours: of a TaskGroup that fails, before Python 3.12.8 and 3.13.1; of
anyio's groups; of an async generator that is let go in its `finally`, before Python 3.13; made on purpose.
"""

ACTS_MAX = 4_000
"""Acts played for one law of one case: a long case is crashed at some of its points, evenly chosen."""


@cache
def undisturbed(case: Case) -> Driver:
    return case.play(driver())


def points(case: Case) -> range:
    acts = len(undisturbed(case).acts)
    return range(0, acts, max(acts * acts // ACTS_MAX, 1))


def content(played: Driver, topic: str) -> set[bytes | str]:
    """The records of a topic, each once, without the offset in a status."""
    if topic == "status":
        records: list[Status] = played.records(topic)
        return {record.model_copy(update={"offset": 0}).model_dump_json() for record in records}
    return {record.value or b"" for record in played.logs[topic]}


def ended(played: Driver, task: str = "t") -> Result:
    """The task's one result, however often it was published."""
    [value] = {record.value or b"" for record in played.logs["results"] if record.key == task.encode()}
    return Result.model_validate_json(value)


def how(result: Result) -> tuple[object, ...]:
    return result.outcome, result.result, result.problem and result.problem.message


def open_state(played: Driver) -> list[bytes]:
    """Keys of state, but for the marks of tasks that ended."""
    return [key for memory in played.state.values() for key in memory.entries if not key.startswith(b"E")]


@each_case
def test_it_ends_as_it_must(case: Case) -> None:
    result = undisturbed(case).result()
    assert result.outcome == case.outcome
    if case.outcome == "succeeded":
        assert result.result == case.expected


@each_case
def test_nothing_is_left_of_it_but_its_end(case: Case) -> None:
    played = undisturbed(case)
    tasks = {result.task for result in played.records("results")}
    assert open_state(played) == []
    assert {key[5:].decode() for key in played.state["conduct"].entries} == tasks


@each_case
def test_exactly_once_a_crash_at_any_point_leaves_no_trace(case: Case) -> None:
    for point in points(case):
        crashed = case.play(driver(crashes={point: 0}))
        assert crashed.written() == undisturbed(case).written(), point


@each_case
def test_exactly_once_two_crashes_leave_no_trace(case: Case) -> None:
    chance = random.Random(case.name)
    for _ in range(10):
        crashes = dict.fromkeys(chance.sample(points(case), 2), 0)
        assert case.play(driver(crashes=crashes)).written() == undisturbed(case).written(), crashes


@each_case
def test_at_least_once_a_crash_at_any_point_adds_only_duplicates(case: Case) -> None:
    whole = undisturbed(case)
    for point in points(case):
        for left_behind in range(1, len(whole.acts[point].publish) + 1):
            crashed = case.play(driver(crashes={point: left_behind}, exactly_once=False))
            for topic in whole.logs.keys() - {"dead-letters"}:  # a signal that comes again may come too late
                assert content(crashed, topic) == content(whole, topic), (point, left_behind, topic)
            assert how(ended(crashed)) == how(whole.result())
            assert open_state(crashed) == []


@each_case
def test_a_call_runs_once_more_for_each_crash_at_most(case: Case) -> None:
    calls = Counter(undisturbed(case).ran)
    for point in points(case):
        crashed = Counter(case.play(driver(crashes={point: 0})).ran)
        assert crashed.keys() == calls.keys()
        assert (crashed - calls).total() <= 1


@each_case
def test_its_log_alone_asks_for_the_same_again(case: Case) -> None:
    whole = undisturbed(case)
    fresh = Conduct(APP, (memory := Memory()), random.Random)
    asked: list[Publish] = []
    for record in whole.logs["events"]:
        decision = fresh.handle(record, record.timestamp_ms)
        asked += decision.publish
        memory.apply(decision.write)
    fresh.close()
    by_conduct = [publish for act in whole.acts for publish in act.publish if _is_of_conduct(publish)]
    assert sorted(map(repr, filter(_is_of_conduct, asked))) == sorted(map(repr, by_conduct))


def _is_of_conduct(publish: Publish) -> bool:
    """What only conduct publishes."""
    first = getattr(publish.value, "attempt", 1) == 1
    return publish.topic in ("questions", "results", "status") or (publish.topic == "tool-calls" and first)


class Restless(Driver):
    """Restarts after every act that decided anything."""

    def act(self) -> bool:
        acted = super().act()
        if acted and (self.acts[-1].publish or self.acts[-1].write):
            self.restart()
        return acted


@each_case
def test_a_restart_between_any_two_acts_changes_nothing(case: Case) -> None:
    assert case.play(Restless(APP, MODELS)).written() == undisturbed(case).written()


class Losing(Driver):
    """Loses the state of `conduct` in a crash, and rebuilds it from the log."""

    def restart(self, app: App | None = None) -> None:
        super().restart(app)
        if self.acts:
            self.state["conduct"] = rebuilt(self)
            super().restart(app)


def rebuilt(played: Driver) -> Memory:
    memory, tasks = Memory(), LostTasks(0)
    for status in {status.task: status for status in played.records("status")}.values():
        memory.apply(tasks.add(status).write)
    log, end = played.logs["events"], played.offsets["events"]
    for record in log:
        tasks.look_at(record)
    again = Conduct(APP, memory, random.Random, played.limits, silent=True, waited=tasks.waited)
    for record in log:
        for each in tasks.in_order(record) if record.offset < end else tasks.late(record):
            memory.apply(again.handle(each, each.timestamp_ms).write)
    again.close()
    return memory


@each_case
def test_lost_state_that_is_rebuilt_from_the_log_is_the_same_at_any_point(case: Case) -> None:
    for point in points(case):
        crashed = case.play(Losing(APP, MODELS, crashes={point: 0}))
        assert crashed.written("status") == undisturbed(case).written("status"), point
        assert content(crashed, "status") == content(undisturbed(case), "status"), point


@each_case
def test_a_coroutine_that_was_let_go_is_no_garbage(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    """Python looks for garbage in cycles seldom: of many tasks that sleep, those let go would stay."""
    played = watched_executions(monkeypatch)
    gc.disable()
    try:
        ended(case.play(Restless(APP, MODELS)))
        assert len(played) > 1
        assert case.name in OF_ITS_OWN or sum(each() is not None for each in played) == 0
    finally:
        gc.enable()


@each_case
@pytest.mark.parametrize(
    "topic", ["events", "tool-calls", "model-calls", "checks", "failures", "delays", "questions", "results"]
)
def test_a_record_published_twice_changes_no_result(case: Case, topic: str) -> None:
    doubled = case.play(driver(duplicated={topic}))
    assert how(ended(doubled)) == how(undisturbed(case).result())
    assert open_state(doubled) == []


class Echoing(Driver):
    """Sometimes delivers a record of long ago again."""

    chance = random.Random(7)
    echoes = 0

    def act(self) -> bool:
        topic = self.chance.choice(["tasks", "events", "tool-calls", "model-calls", "failures", "delays"])
        if self.echoes < ECHOES_MAX and self.logs[topic] and self.chance.random() < 0.3:
            self.echoes += 1
            self.redeliver(topic, self.chance.randrange(len(self.logs[topic])))
        return super().act()


@each_case
def test_records_that_come_again_late_change_no_result(case: Case) -> None:
    for _ in range(5):
        assert how(ended(case.play(Echoing(APP, MODELS)))) == how(undisturbed(case).result())


class Upgraded(Driver):
    """Other workers are newer: what they write for this one has fields that it does not know."""

    def _append(self, topic: str, key: bytes | None, value: bytes | None, headers: Headers) -> None:
        if topic in WRITTEN_BY_WORKERS and value is not None:
            value = value[:-1] + b',"since_9":{"a":[1]}}'
        super()._append(topic, key, value, headers)


WRITTEN_BY_WORKERS = {"events", "model-calls", "tool-calls", "checks", "failures", "delays"}


@each_case
def test_what_newer_workers_write_is_understood(case: Case) -> None:
    upgraded = case.play(Upgraded(APP, MODELS))
    assert how(ended(upgraded)) == how(undisturbed(case).result())
    assert upgraded.reasons() == undisturbed(case).reasons()


# ---------------------------------------------------------------- many tasks

SHORT = [case for case in CASES if case.name != "long"]
QUIET = [case for case in SHORT if not case.signals and not case.races]


def together(played: Driver) -> Driver:
    for case in QUIET:
        played.submit(case.name, case.input, task=case.name)
    played.run()
    return played


@cache
def alone(case: Case) -> tuple[object, ...]:
    return how(undisturbed(case).result())


@pytest.mark.parametrize("seed", range(20))
def test_each_task_ends_the_same_in_whatever_order_stages_act(seed: int) -> None:
    played = together(driver(order=random.Random(seed)))
    assert {case.name: how(played.result(case.name)) for case in QUIET} == {c.name: alone(c) for c in QUIET}
    assert open_state(played) == []


@pytest.mark.parametrize("seed", range(8))
def test_crashes_in_any_order_of_acts_change_no_result(seed: int) -> None:
    chance = random.Random(seed)
    crashes = {point: chance.randrange(3) for point in chance.sample(range(300), 30)}
    played = together(driver(order=chance, crashes=crashes, exactly_once=bool(seed % 2)))
    assert {c.name: how(ended(played, c.name)) for c in QUIET} == {c.name: alone(c) for c in QUIET}
    assert open_state(played) == []


@pytest.mark.parametrize("live", [1, 2, 5])
def test_tasks_that_were_evicted_end_the_same(live: int) -> None:
    whole = together(driver()).written()
    assert together(driver(limits=Limits(cached_tasks_max=live))).written() == whole


# ---------------------------------------------------------------- tasks that wait for their turn

TIMELESS = [case for case in QUIET if case.name != "sleeps"]
"""The others end the same whenever they begin."""

CROWDED = Limits(running_tasks_max=1, open_tasks_per_tenant_max=2)
"""Whoever is not the first waits; two tenants hold back more than that."""


def crowd(played: Driver) -> Driver:
    for number, case in enumerate(TIMELESS):
        request = {"workflow": case.name, "input": case.input, "id": case.name}
        request |= {"tenant": ("ada", "bob", None)[number % 3], "priority": number % 2}
        played.produce("tasks", request, key=case.name)
    played.run()
    return played


@cache
def crowded() -> Driver:
    return crowd(driver(limits=CROWDED))


def ends(played: Driver) -> dict[str, tuple[object, ...]]:
    return {case.name: how(ended(played, case.name)) for case in TIMELESS}


ALONE = {case.name: alone(case) for case in TIMELESS}


def test_tasks_that_wait_for_their_turn_end_the_same() -> None:
    states: list[Status] = crowded().records("status")
    assert len({status.task for status in states if status.state == "queued"}) >= len(TIMELESS) - 1
    assert ends(crowded()) == ALONE
    assert open_state(crowded()) == []


def test_a_crash_at_any_point_leaves_no_trace_of_whose_turn_it_was() -> None:
    for point in range(0, len(crowded().acts), 10):
        crashed = crowd(driver(limits=CROWDED, crashes={point: 0}))
        assert crashed.written() == crowded().written(), point


def test_a_restart_changes_no_turn() -> None:
    assert crowd(Restless(APP, MODELS, limits=CROWDED)).written() == crowded().written()


def test_lost_state_that_is_rebuilt_lets_those_who_waited_wait_and_end_the_same() -> None:
    for point in range(0, len(crowded().acts), 25):
        played = crowd(Losing(APP, MODELS, limits=CROWDED, crashes={point: 0}))
        assert ends(played) == ALONE, point
        assert open_state(played) == [], point


@pytest.mark.parametrize("seed", range(20))
def test_turns_that_are_given_again_change_no_result(seed: int) -> None:
    chance = random.Random(seed)
    crashes = {point: chance.randrange(4) for point in chance.sample(range(600), 60)}
    options: dict[str, Any] = {"crashes": crashes, "exactly_once": bool(seed % 2), "limits": CROWDED}
    played = crowd(driver(order=chance, duplicated={"events"} if seed % 3 else (), **options))
    assert ends(played) == ALONE
    assert open_state(played) == []


def test_the_log_of_a_task_that_waited_plays_again() -> None:
    for task in {record.key for record in crowded().logs["results"]}:
        history = [r for topic in ("events", "results") for r in crowded().logs[topic] if r.key == task]
        replay = Replay(APP, history)
        assert all(replay)
        assert (replay.parked, replay.different_ending) == (None, None)
