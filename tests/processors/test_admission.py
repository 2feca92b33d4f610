"""Admission: whose turn it is while too many tasks are busy, and what happens to those that wait."""

import random
from collections.abc import Iterator
from typing import Any

import pytest

from segue import App, Task, tool, workflow
from segue.processors.limits import Limits
from segue.processors.stages.conduct import Conduct
from segue.processors.tasks.admission import Admission, Turn
from segue.processors.views.timeline import Timeline
from segue.processors.views.timeline_events import TimelineEvent
from segue.topics.flow import Decision
from segue.topics.records import Admitted, CallTool, Parent, Question, StepSucceeded, Submitted
from tests.builders import received
from tests.driver import START_MS, Driver, Memory


@tool
async def work(name: str) -> str:
    return name


@workflow
async def works(task: Task) -> str:
    return await task.tool(work, name=task.id)


@workflow
async def waits(task: Task) -> str:
    return await task.ask("ada", "may I?")


@workflow
async def hears(task: Task) -> list[Any]:
    return [await task.tool(work, name="first"), await task.signal("go")]


@workflow
async def parent(task: Task) -> list[str]:
    return await task.gather(*(task.child(works) for _ in range(3)))


APP = App("x", workflows=[works, waits, hears, parent], tools=[work])
ONE = Limits(running_tasks_max=1)


def submitted(task: str, **facts: Any) -> Submitted:
    return Submitted(task=task, workflow="works", version=1, input=None, at_ms=START_MS, **facts)


class Line:
    """An admission over its state, whose tasks end when a test says so."""

    def __init__(self, limits: Limits = ONE) -> None:
        self.memory = Memory()
        self.limits = limits
        self.offset = 0
        self.events: dict[str, tuple[Submitted, int]] = {}
        self.restart()

    def restart(self, limits: Limits | None = None) -> None:
        self.limits = limits or self.limits
        self.admission = Admission(self.memory, self.limits)

    def submit(self, task: str, **facts: Any) -> None:
        self.offset += 1
        self.events[task] = event, offset = submitted(task, **facts), self.offset
        if self.admission.must_wait(event):
            self.admission.hold(event, offset)
        else:
            self.admission.opened(event)
            self.admission.busy(task, now=True)
        self.memory.apply(self.admission.take())

    def end(self, task: str) -> None:
        event, offset = self.events.pop(task)
        if self.admission.is_busy(task):
            self.admission.busy(task, now=False)
        self.admission.ended(event, offset, waited=True)
        self.memory.apply(self.admission.take())

    def turns(self) -> list[Turn]:
        turns: list[Turn] = []
        while self.admission.due:
            turns += self.admission.admit()
            self.memory.apply(self.admission.take())
        return turns

    def all_turns(self, first: str) -> Iterator[str]:
        """Each task ends as soon as it has begun."""
        running = [first]
        while running:
            self.end(running.pop(0))
            for turn in self.turns():
                yield turn.task
                running.append(turn.task)


# ---------------------------------------------------------------- it happens


def test_tasks_begin_at_once_while_few_are_busy() -> None:
    line = Line(Limits(running_tasks_max=2))
    for task in ("a", "b", "c"):
        line.submit(task)
    assert [key for key in line.memory.entries if key[:1] == b"B"] == [b"Ba", b"Bb"]
    assert line.turns() == []
    line.end("b")
    assert line.turns() == [Turn("c", 0, START_MS)]


def test_the_urgent_go_first_and_those_of_one_priority_in_order() -> None:
    line = Line()
    for task, priority in (("first", 0), ("a", 0), ("b", 0), ("urgent", 9), ("c", 0), ("brisk", 1)):
        line.submit(task, priority=priority)
    assert list(line.all_turns("first")) == ["urgent", "brisk", "a", "b", "c"]
    assert line.memory.entries == {}


def test_tenants_take_turns_and_one_that_comes_late_waits_one_round_at_most() -> None:
    line = Line()
    for number in range(6):
        line.submit(f"a{number}", tenant="a")
    line.submit("b0", tenant="b")
    line.submit("none")
    turns = line.all_turns("a0")
    begun = [next(turns) for _ in range(4)]
    line.submit("c0", tenant="c")
    assert begun[0] == "a1"
    assert sorted(begun[1:]) == ["a2", "b0", "none"]
    assert list(turns) == ["a3", "c0", "a4", "a5"]


def test_children_go_before_the_tasks_of_their_tenant_that_have_not_begun() -> None:
    line = Line()
    for task in ("first", "a", "b"):
        line.submit(task)
    line.submit("p/0", parent=Parent(task="p", step=0, fingerprint=""))
    assert list(line.all_turns("first")) == ["p/0", "a", "b"]


def test_tasks_that_wait_for_people_are_in_nobodys_way() -> None:
    driver = Driver(APP, limits=ONE)
    for number in range(5):
        driver.submit("waits", task=f"asks-{number}")
    driver.submit("works")
    driver.run()
    questions: list[Question] = driver.records("questions")
    assert [question.task for question in questions] == [f"asks-{number}" for number in range(5)]
    assert driver.result().outcome == "succeeded"


def test_parents_and_their_children_end_where_only_one_may_be_busy() -> None:
    driver = Driver(APP, limits=ONE)
    for number in range(5):
        driver.submit("parent", task=f"p{number}")
    driver.run()
    results = {result.task: result.result for result in driver.records("results")}
    assert results["p3"] == ["p3/0", "p3/1", "p3/2"]
    assert len(results) == 20


def test_no_more_calls_are_out_than_the_busy_may_have() -> None:
    driver = Driver(APP, limits=Limits(running_tasks_max=3))
    for number in range(50):
        driver.submit("works", task=f"t{number}")
    out, most = 0, 0
    while driver.act():
        calls = [publish.topic for publish in driver.acts[-1].publish]
        out += calls.count("tool-calls")
        out -= sum(isinstance(publish.value, StepSucceeded) for publish in driver.acts[-1].publish)
        most = max(most, out)
    assert len(driver.records("results")) == 50
    assert most == 3


def test_a_task_that_waits_says_so_and_begins_at_its_turn() -> None:
    driver = Driver(APP, limits=ONE)
    driver.submit("works", task="before")
    driver.submit("works")
    driver.run()
    states = [status.state for status in driver.records("status", "t")]
    admitted = Admitted(task="t", waited_ms=0, at_ms=START_MS)
    assert states == ["queued", "running", "succeeded"]
    assert [event for event in driver.records("events", "t") if isinstance(event, Admitted)] == [admitted]


def crowded(*, limits: Limits = ONE, **facts: Any) -> Driver:
    """`before` is busy, and `t` must wait, when what comes next is handled."""
    driver = Driver(APP, limits=limits)
    driver.submit("works", task="before")
    driver.produce("tasks", {"workflow": "hears", "id": "t", **facts})
    return driver


def test_signals_are_kept_for_a_task_that_waits() -> None:
    driver = crowded()
    driver.produce("signals", {"kind": "signal", "task": "t", "name": "go", "value": 7})
    driver.run()
    assert driver.result().result == ["first", 7]
    driver.submit("works", task="after")
    driver.run()
    assert driver.result("after").outcome == "succeeded"


def test_a_timeline_tells_of_the_turn_and_of_the_wait() -> None:
    timeline = Timeline("t")
    turn = Admitted(task="t", waited_ms=90_000, at_ms=START_MS)
    log = [
        received("events", event)._replace(offset=n) for n, event in enumerate((submitted("t"), turn, turn))
    ]
    assert [timeline.apply(record) for record in log][1:] == [
        TimelineEvent(START_MS, "task", "turn", text="begins after 1.5 min in line"),
        None,
    ]


def test_a_task_that_is_cancelled_while_it_waits_never_begins() -> None:
    driver = crowded()
    driver.produce("signals", {"kind": "cancel", "task": "t", "reason": "too late"})
    driver.submit("works", task="after")
    driver.run()
    ended = driver.result()
    assert (ended.outcome, ended.problem and ended.problem.message, ended.steps) == (
        "cancelled",
        "too late",
        0,
    )
    assert [run.partition("/")[0] for run in driver.ran] == ["before", "after"]


def test_a_tenant_opens_no_more_than_it_may_and_the_others_wait() -> None:
    line = Line(Limits(running_tasks_max=9, open_tasks_per_tenant_max=2))
    for task in ("a0", "a1", "a2", "a3"):
        line.submit(task, tenant="a")
    line.submit("b0", tenant="b")
    line.submit("a0/0", tenant="a", parent=Parent(task="a0", step=0, fingerprint=""))
    assert sorted(key for key in line.memory.entries if key[:1] == b"B") == [b"Ba0", b"Ba0/0", b"Ba1", b"Bb0"]
    assert line.turns() == []
    line.end("a1")
    assert [turn.task for turn in line.turns()] == ["a2"]
    line.restart(Limits(running_tasks_max=9))
    assert [turn.task for turn in line.turns()] == ["a3"]


# ---------------------------------------------------------------- it has already happened


def test_who_is_busy_and_who_waits_survives_a_restart() -> None:
    line = Line()
    for task in ("first", "a", "b"):
        line.submit(task)
    line.restart()
    assert line.turns() == []
    assert list(line.all_turns("first")) == ["a", "b"]


def test_a_task_that_waits_and_comes_again_waits_once() -> None:
    driver = crowded()
    driver.produce("tasks", {"workflow": "hears", "id": "t"})
    driver.produce("signals", {"kind": "signal", "task": "t", "name": "go", "value": 7})
    driver.run()
    assert [status.state for status in driver.records("status", "t")] == ["queued", "running", "succeeded"]


def test_a_turn_that_comes_again_is_taken_once() -> None:
    driver = crowded()
    driver.produce("signals", {"kind": "signal", "task": "t", "name": "go", "value": 7})
    driver.run()
    written = driver.written("events")
    for offset, event in enumerate(driver.records("events")):
        if isinstance(event, Admitted):
            driver.redeliver("events", offset)
    driver.run()
    assert driver.written("events") == written


def test_a_turn_whose_commit_was_lost_is_taken_once() -> None:
    """At least once: the turn stands on the log, and the state still has the task in its line."""
    conduct = Conduct(APP, (memory := Memory()), random.Random, ONE)
    decided: list[Decision] = []
    turn = Admitted(task="t", waited_ms=0, at_ms=START_MS)
    for event in (submitted("before"), submitted("t", tenant="a"), turn, turn):
        decided.append(conduct.handle(received("events", event), START_MS))
        memory.apply(decided[-1].write)
    calls = [[p.value.task for p in each.publish if isinstance(p.value, CallTool)] for each in decided]
    assert calls == [["before"], [], ["t"], []]
    assert {key for key in memory.entries if key[:1] in b"BOVTW"} >= {b"Bt", b"Oa"}
    assert memory.get(b"Oa") == b"1 0"
    assert not any(key.startswith(b"W") for key in memory.entries)


# ---------------------------------------------------------------- it must not happen


def test_an_outcome_for_a_task_that_waits_is_of_no_use() -> None:
    conduct = Conduct(APP, (memory := Memory()), random.Random, ONE)
    for event in (submitted("before"), submitted("t")):
        memory.apply(conduct.handle(received("events", event), START_MS).write)
    stray = StepSucceeded(task="t", step=0, fingerprint="?", result=1, at_ms=START_MS)
    assert conduct.handle(received("events", stray), START_MS) == Decision()


def test_one_too_many_of_a_tenant_is_rejected_with_the_reason() -> None:
    driver = Driver(APP, limits=Limits(running_tasks_max=1, waiting_tasks_per_tenant_max=1))
    for number in range(4):
        driver.produce("tasks", {"workflow": "works", "id": f"t{number}", "tenant": "a"}, key=f"t{number}")
    driver.produce("tasks", {"workflow": "works", "id": "b", "tenant": "b"}, key="b")
    driver.run()
    outcomes = {result.task: result.outcome for result in driver.records("results")}
    assert outcomes == {
        "t0": "succeeded",
        "t1": "succeeded",
        "t2": "rejected",
        "t3": "rejected",
        "b": "succeeded",
    }
    why = (
        "tenant 'a' has the most tasks that may wait for their turn, 1 (waiting_tasks_per_tenant_max, "
        "this partition's part): send the request again later"
    )
    assert driver.reasons() == [why, why]


@pytest.mark.parametrize("seed", range(30))
def test_nobody_is_forgotten_and_nothing_is_left_whatever_comes_and_goes(seed: int) -> None:
    chance = random.Random(seed)
    line = Line(Limits(running_tasks_max=3, open_tasks_per_tenant_max=chance.choice([None, 1, 2])))
    running: list[str] = []
    for number in range(200):
        act = chance.random()
        if act < 0.4:
            parent_of = Parent(task="p", step=0, fingerprint="") if chance.random() < 0.2 else None
            tenant, priority = chance.choice(["a", "b", "c", None]), chance.randrange(3)
            line.submit(str(number), tenant=tenant, priority=priority, parent=parent_of)
        elif act < 0.8 and line.events:
            line.end(chance.choice(list(line.events)))
        elif act < 0.9:
            line.restart()
        else:
            line.turns()
    while line.events:
        line.turns()
        running = [task for task in line.events if line.admission.is_busy(task)]
        assert running, line.memory.entries
        line.end(running[0])
    line.turns()
    assert line.memory.entries == {}
