"""Stage conduct: tasks begin, go on, end, are parked; and what is told twice or to nobody does no harm."""

import asyncio
import gc
from dataclasses import replace
from typing import Any

import pytest

from segue import App, ModelRoute, Task, ToolRoute, Workflow, check, tool, workflow
from segue.processors.event_loop import loop
from segue.processors.tasks import tombstones as marks
from segue.processors.workflow.parking import DEADLOCKED, by_absence
from segue.topics.contracts import DAY_MS, PAYLOAD_BYTES_MAX
from segue.topics.envelope import MAGIC
from segue.topics.errors import TooLarge, UnknownName
from segue.topics.flow import Write
from segue.topics.records import Answered, Given, Problem, QuestionClosed, Result, Signal, SignalReceived
from tests.driver import START_MS, Driver


@tool
async def search(place: str) -> str:
    return f"found {place}"


@tool
async def lookup(place: str) -> str:
    return f"looked up {place}"


@tool(retries=0)
async def broken() -> str:
    return {"place": "Faro"}["missing"]


def app(*workflows: Workflow[Any, Any]) -> App:
    return App("x", workflows=workflows, tools=[search, lookup, broken], routes=[ModelRoute("rank", ["m"])])


def played(run: Workflow[Any, Any], value: Any = None) -> Driver:
    driver = Driver(app(run))
    driver.submit(run.name, value)
    driver.run()
    return driver


def answer(driver: Driver, value: Any, step: int | None = None, **facts: Any) -> None:
    driver.produce("signals", {"kind": "answer", "task": "t", "value": value, "step": step, **facts})
    driver.run(until_ms=driver.now_ms + 1)


def go(driver: Driver, value: Any, **facts: Any) -> None:
    driver.produce("signals", {"kind": "signal", "task": "t", "name": "go", "value": value, **facts})
    driver.run(until_ms=driver.now_ms + 1)


def problem(type_: str, message: str) -> Problem:
    return Problem(type=type_, message=message, retryable=False)


NO_INTEGER = (
    "signal 'go' does not fit what the task waits for: "
    "Input should be a valid integer, unable to parse string as an integer"
)


@workflow
async def asks(task: Task) -> str:
    return await task.ask("ada", "which?", options={"the first": "a", "the second": "b"})


@workflow
async def asks_twice(task: Task) -> list[str]:
    return await task.gather(task.ask("ada", "one?"), task.ask("ada", "two?"))


# ---------------------------------------------------------------- it happens


def test_a_task_ends_with_one_result() -> None:
    @workflow
    async def run(task: Task, place: str) -> str:
        return await task.tool(search, place)

    expected = Result(
        task="t",
        workflow="run",
        outcome="succeeded",
        result="found Faro",
        steps=1,
        started_ms=START_MS,
        at_ms=START_MS,
    )
    driver = played(run, "Faro")
    assert driver.result() == expected
    assert [status.state for status in driver.records("status")] == ["running", "succeeded"]


def test_an_answer_may_be_the_label_or_the_value_of_an_option() -> None:
    for given in ("the second", "b"):
        driver = played(asks)
        answer(driver, given)
        assert driver.result().result == "b"
        [origin] = [event.origin for event in driver.records("events") if isinstance(event, Answered)]
        said = Given(id=f"signals/0/{origin.offset}", value=given)
        facts: dict[str, Any] = {"task": "t", "step": 0, "at_ms": driver.result().at_ms}
        closed = QuestionClosed(**facts, reason="answered", answer=said)
        assert driver.records("questions")[1:] == [closed]


def test_a_task_that_waits_for_people_says_so() -> None:
    [last] = played(asks).records("status")
    assert last.state == "waiting"
    assert [question.text for question in last.questions] == ["which?"]


def test_a_signal_that_comes_before_its_task_waits_for_it() -> None:
    @workflow
    async def run(task: Task) -> str:
        return await task.signal("go", str)

    driver = Driver(app(run))
    driver.produce("signals", {"kind": "signal", "task": "t", "name": "go", "value": "early"})
    driver.run(until_ms=START_MS + 1000)
    driver.submit("run")
    driver.run()
    assert driver.result().result == "early"


def test_what_is_called_in_a_wrong_way_is_told_by_name() -> None:
    @check
    def is_loud(text: str) -> None: ...

    @workflow
    async def run(task: Task, how: str) -> Any:
        wrong: Any = {"tool": search, "direct": search, "check": is_loud, "checks": [is_loud]}[how]
        if how == "tool":
            return await task.tool(wrong, "Faro", price=3)
        if how == "direct":
            return await wrong("Faro")
        return await task.model("rank", "?", check=wrong)

    assert {how: played(run, how).bug().message for how in ("tool", "direct", "check", "checks")} == {
        "tool": "TypeError: tool 'search': got an unexpected keyword argument 'price'",
        "direct": "tool 'search' is called as a plain function, which is not a step: "
        "write await task.tool(search, …)",
        "check": "check=is_loud: call it, is_loud(…), with all its arguments except the output",
        "checks": "check=is_loud: call it, is_loud(…), with all its arguments except the output",
    }


# ---------------------------------------------------------------- it has already happened


def test_an_id_that_was_used_starts_no_second_task_for_a_week() -> None:
    @workflow
    async def run(task: Task) -> None: ...

    driver = played(run)
    driver.submit("run")
    driver.run()
    assert len(driver.records("results")) == 1
    driver.now_ms += 2 * marks.REMEMBERED_MS + DAY_MS
    driver.run()
    assert driver.state["conduct"].entries == {}
    driver.submit("run")
    driver.run()
    assert len(driver.records("results")) == 2


def test_a_task_that_ended_where_the_clock_was_ahead_is_remembered_where_it_is_right() -> None:
    @workflow
    async def run(task: Task) -> None: ...

    driver = Driver(app(run))
    driver.now_ms += marks.REMEMBERED_MS
    driver.submit("run")
    driver.run()
    driver.now_ms -= marks.REMEMBERED_MS
    driver.submit("run")
    driver.run()
    assert len(driver.records("results")) == 1


def test_the_same_signal_twice_counts_once() -> None:
    @workflow
    async def run(task: Task) -> list[int]:
        return [await task.signal("go", int), await task.signal("go", int)]

    driver = played(run)
    for identity, value in (("a", 1), ("a", 1), ("b", 2)):
        driver.produce(
            "signals", {"kind": "signal", "task": "t", "id": identity, "name": "go", "value": value}
        )
    driver.run()
    assert driver.result().result == [1, 2]


def test_a_cancellation_that_comes_twice_cancels_once() -> None:
    @workflow
    async def run(task: Task) -> str:
        try:
            await task.sleep(1000)
        except asyncio.CancelledError:
            await task.sleep(10)
        return "cleaned up"

    driver = played_until(run, START_MS + 1000)
    for _ in range(2):
        driver.produce("signals", {"kind": "cancel", "task": "t", "id": "once"})
    driver.run()
    assert driver.result().result == "cleaned up"


def played_until(run: Workflow[Any, Any], until_ms: int) -> Driver:
    driver = Driver(app(run))
    driver.submit(run.name)
    driver.run(until_ms=until_ms)
    return driver


# ---------------------------------------------------------------- it must not happen


def test_an_answer_that_is_no_option_is_a_dead_letter_and_the_question_stays_open() -> None:
    driver = played(asks)
    answer(driver, "c")
    assert driver.reasons() == ["'c' is none of the options: the first, the second"]
    answer(driver, "a")
    assert driver.result().result == "a"


def test_a_signal_of_another_type_is_a_dead_letter_and_the_task_waits_for_the_next() -> None:
    @workflow
    async def run(task: Task) -> list[int]:
        return [await task.signal("go", int), await task.signal("go", int)]

    driver = played(run)
    go(driver, "soon")
    [letter] = driver.logs["dead-letters"]
    event = SignalReceived.model_validate_json(letter.value or b"")
    assert (event.name, event.value) == ("go", "soon")
    assert driver.reasons() == [NO_INTEGER]
    go(driver, 1)
    go(driver, "later")
    go(driver, 2)
    assert driver.reasons() == [NO_INTEGER] * 2
    assert driver.result().result == [1, 2]


def test_a_signal_of_another_type_that_came_before_it_was_asked_for_is_a_dead_letter() -> None:
    @workflow
    async def run(task: Task) -> int:
        await task.signal("begin")
        return await task.signal("go", int)

    driver = played(run)
    go(driver, "soon", id="s-1")
    assert driver.reasons() == []
    driver.produce("signals", {"kind": "signal", "task": "t", "name": "begin"})
    driver.run()
    [letter] = driver.logs["dead-letters"]
    told = Signal(id="s-1", task="t", name="go", value="soon")
    assert Signal.model_validate_json(letter.value or b"") == told
    assert dict(letter.headers)["segue-topic"] == b"signals"
    assert driver.reasons() == [NO_INTEGER]
    go(driver, 1)
    assert driver.result().result == 1


def test_a_signal_of_another_type_that_came_while_its_task_was_parked_is_refused_later() -> None:
    @workflow
    async def old(task: Task) -> int:
        return await task.signal("go", int)

    driver = played(old)
    driver.restart(app(replace(old, version=2)))
    go(driver, "soon")
    assert driver.reasons() == []
    driver.restart(app(old))
    go(driver, 1)
    assert driver.reasons() == [NO_INTEGER]
    assert driver.result().result == 1


def test_an_answer_to_a_closed_question_is_a_dead_letter() -> None:
    @workflow
    async def run(task: Task) -> None:
        await task.ask("ada", "which?")
        await task.signal("go")

    driver = played(run)
    answer(driver, "a", 0)
    answer(driver, "b", 0)
    answer(driver, "b")
    answer(driver, "b", 1)
    closed = "the question at step 0 is closed"
    assert driver.reasons() == [closed, "the task has no open question", "the task has no open question"]


def test_an_answer_that_may_be_to_either_question_is_a_dead_letter() -> None:
    driver = played(asks_twice)
    answer(driver, "a")
    [why] = driver.reasons()
    assert why.startswith(
        "the answer names no step, and several questions are open: give the step, one of [0, "
    )
    for question in driver.records("questions"):
        answer(driver, f"{question.step}!", question.step)
    assert driver.result().outcome == "succeeded"


def test_an_answer_of_another_type_is_a_dead_letter() -> None:
    @workflow
    async def run(task: Task) -> int:
        return await task.ask("ada", "how many?", answer=int)

    driver = played(run)
    answer(driver, "many")
    answer(driver, 3)
    assert (driver.reasons(), driver.result().result) == (
        ["Input should be a valid integer, unable to parse string as an integer"], 3
    )  # fmt: skip


def test_signals_for_nobody_are_dead_letters() -> None:
    driver = played(asks)
    answer(driver, "a")
    answer(driver, "a")
    driver.produce("signals", {"kind": "cancel", "task": "nobody"})
    driver.run()
    assert driver.reasons() == ["task 't' has ended", "task 'nobody' does not exist"]


def test_an_exception_of_the_user_fails_the_task_and_shows_only_the_users_frames() -> None:
    @workflow
    async def run(task: Task) -> None:
        await task.tool(search, "Faro")
        raise ValueError("no hotel")

    found = played(run).result().problem
    assert found is not None
    assert (found.type, found.message) == ("ValueError", "ValueError: no hotel")
    assert found.traceback is not None
    assert 'raise ValueError("no hotel")' in found.traceback
    assert "/processors/workflow/execution.py" not in found.traceback
    assert "/processors/event_loop/loop.py" not in found.traceback


def test_a_task_that_fails_by_one_of_several_steps_at_once_tells_that_steps_problem() -> None:
    @workflow
    async def run(task: Task) -> None:
        async with asyncio.TaskGroup() as both:
            both.create_task(task.tool(search, "Faro"))
            both.create_task(task.tool(broken))

    found = played(run).result().problem
    assert found is not None
    assert (found.type, found.message) == ("KeyError", "broken: KeyError: 'missing'")
    assert found.traceback is not None
    assert "in broken\n" in found.traceback, "where the tool's code failed"


def test_a_workflow_that_exits_fails_its_task_alone() -> None:
    @workflow
    async def run(task: Task) -> None:
        raise SystemExit(3)

    assert played(run).result().problem is not None


@pytest.mark.parametrize(
    "use", ["to_thread", "run_in_executor", "open_connection", "subprocess", "add_signal"]
)
def test_a_workflow_that_reaches_for_the_world_is_told_to_use_a_tool(use: str) -> None:
    @workflow
    async def run(task: Task, use: str) -> None:
        running = asyncio.get_running_loop()
        if use == "to_thread":
            await asyncio.to_thread(print)
        elif use == "run_in_executor":
            await running.run_in_executor(None, print)
        elif use == "open_connection":
            await asyncio.open_connection("localhost", 80)
        elif use == "subprocess":
            await asyncio.create_subprocess_exec("true")
        else:
            running.add_signal_handler(2, print)

    found = played(run, use).bug()
    assert found.type == "BadInput"
    assert found.message.endswith("belong in a tool; await it with task.tool(...)")


def test_a_workflow_that_never_waits_is_stuck(monkeypatch: pytest.MonkeyPatch) -> None:
    @workflow
    async def run(task: Task) -> None:
        while True:  # noqa: ASYNC110 - it is to be caught
            await asyncio.sleep(0)

    monkeypatch.setattr(loop, "CALLBACKS_MAX", 100)
    assert played(run).result().problem == problem(
        "Stuck", "the workflow runs without end and never waits for a step"
    )


def test_a_workflow_that_waits_for_nothing_is_stuck() -> None:
    @workflow
    async def run(task: Task) -> None:
        await asyncio.Event().wait()

    bug = played(run).bug()
    assert (bug.type, bug.message) == ("Stuck", DEADLOCKED)


def test_a_child_of_an_unknown_workflow_fails_where_it_is_asked_for() -> None:
    @workflow
    async def unknown(task: Task) -> None: ...

    @workflow
    async def run(task: Task) -> None:
        await task.child(unknown)

    assert played(run).bug().type == "UnknownName"


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_workflow_that_catches_everything_can_still_be_let_go() -> None:
    @workflow
    async def run(task: Task) -> None:
        while True:
            try:
                await task.tool(search, "Faro")
                await task.signal("never")
            except BaseException:  # noqa: BLE001
                continue

    driver = played(run)
    driver.restart()
    gc.collect()
    assert driver.records("results") == []


# ---------------------------------------------------------------- other code


def waits(*steps: str) -> Workflow[Any, Any]:
    """A workflow that asks for those tools, then for a signal, then for a tool."""

    @workflow
    async def run(task: Task) -> list[str]:
        found = [await task.tool({"search": search, "lookup": lookup}[name], "Faro") for name in steps]
        await task.signal("go")
        return [*found, await task.tool(search, "Porto")]

    return run


@pytest.mark.parametrize(
    ("began", "now", "why"),
    [
        (
            ("search",),
            ("lookup",),
            "step 0 is on the task's log as 'search', but the workflow now asks there for tool 'lookup', or",
        ),
        (
            ("search", "lookup"),
            ("lookup", "search"),
            "step 0 is on the task's log as 'search', but the workflow now asks there for tool 'lookup', or",
        ),
        (
            ("search", "search"),
            ("search",),
            "step 1 is on the task's log as 'search', but the workflow now asks there for signal 'go', or",
        ),
    ],
)
def test_a_task_whose_code_changed_is_parked_until_its_code_is_back(
    began: tuple[str, ...], now: tuple[str, ...], why: str
) -> None:
    driver = played(waits(*began))
    driver.restart(app(waits(*now)))
    driver.produce("signals", {"kind": "signal", "task": "t", "name": "go"})
    ran = list(driver.ran)
    driver.run()
    [*_, status] = driver.records("status")
    assert (status.state, driver.ran) == ("parked", ran), "no harm is done"
    assert status.problem.message.startswith(why)
    assert "deploy the code that this task began with" in status.problem.message
    driver.restart(app(waits(*now)))
    driver.run()
    assert driver.records("results") == []
    driver.restart(app(waits(*began)))
    driver.run()
    assert driver.result().outcome == "succeeded"
    assert driver.ran == [*ran, f"t/{len(began) + 1}/1 search"], "it asked for exactly what it owed"
    assert [status.state for status in driver.records("status")] == [
        "running",
        "parked",
        "running",
        "succeeded",
    ]


def test_a_step_that_was_added_to_those_that_run_parks_the_task() -> None:
    """Otherwise it would wait for ever for what nobody was asked for."""

    def steps(count: int) -> Workflow[Any, Any]:
        @workflow
        async def run(task: Task) -> list[Any]:
            asked = [task.tool(search, str(number)) for number in range(count)]
            return list(await asyncio.gather(task.signal("go"), *asked))

        return run

    driver = played(steps(1))
    driver.restart(app(steps(2)))
    driver.produce("signals", {"kind": "signal", "task": "t", "name": "go", "value": 1})
    driver.run()
    [*_, status] = driver.records("status")
    assert status.state == "parked"


def test_a_task_of_a_version_that_is_gone_is_parked_until_it_is_back() -> None:
    old, new = waits("search"), replace(waits("lookup"), version=2)
    driver = played(old)
    driver.restart(app(new))
    driver.produce("signals", {"kind": "signal", "task": "t", "name": "go"})
    driver.run()
    [*_, status] = driver.records("status")
    unknown = UnknownName("this app has no version 1 of workflow 'run'; it has: [2]")
    assert status.problem == by_absence(unknown)
    driver.restart(app(old, new))
    driver.run()
    assert driver.result().result == ["found Faro", "found Porto"]


def test_a_task_keeps_the_version_that_it_began_with() -> None:
    old, new = waits("search"), replace(waits("lookup"), version=2)
    driver = played(old)
    driver.restart(app(old, new))
    driver.submit("run", task="u")
    for task in "tu":
        driver.produce("signals", {"kind": "signal", "task": task, "name": "go"})
    driver.run()
    assert driver.result("t").result == ["found Faro", "found Porto"]
    assert driver.result("u").result == ["looked up Faro", "found Porto"]


# ---------------------------------------------------------------- what does not fit into a record


def test_an_argument_that_does_not_travel_is_refused_where_it_is_given() -> None:
    @workflow
    async def run(task: Task) -> str:
        try:
            return await task.tool(search, "x" * (PAYLOAD_BYTES_MAX + 1))
        except TooLarge as refused:
            return str(refused)

    driver = played(run)
    assert "to a Blob, and pass the Blob" in driver.result().result
    assert driver.records("tool-calls") == []


def test_a_result_that_does_not_travel_fails_its_task() -> None:
    @workflow
    async def run(task: Task) -> str:
        return "x" * (PAYLOAD_BYTES_MAX + 1)

    problem = played(run).result().problem
    assert problem is not None
    assert problem.type == "TooLarge"
    assert "write a Blob, and return the Blob" in problem.message


REFERENCE = {
    "kind": "value",
    "object": f"0/@t/{'0' * 64}",
    "size_bytes": 5_000_000,
    "sha256": "0" * 64,
    "media_type": "application/json",
    "key": None,
}
"""Stands for a text that is in the object store."""


@tool
async def kept() -> Any:
    return REFERENCE


@tool
async def is_passed_on(text: Any) -> bool:
    return bool(text == REFERENCE)


NOVEL = ToolRoute("novel", [kept], output=str)


def test_a_value_that_is_too_large_passes_through_a_workflow_by_its_reference() -> None:
    @workflow
    async def run(task: Task) -> str:
        text = await task.tool(NOVEL)
        assert await task.tool(is_passed_on, text)
        return await task.child(echo, text)

    @workflow
    async def echo(task: Task, text: str) -> str:
        return text

    driver = Driver(App("test", workflows=[run, echo], routes=[NOVEL], tools=[is_passed_on]))
    driver.submit("run")
    driver.run()
    assert driver.result().result == REFERENCE


def test_a_workflow_that_looks_into_such_a_value_is_told_what_to_do() -> None:
    @workflow
    async def run(task: Task) -> str:
        return (await task.tool(NOVEL)).upper()

    driver = Driver(App("test", workflows=[run], routes=[NOVEL]))
    driver.submit("run")
    driver.run()
    assert driver.bug().message == (
        "AttributeError: a workflow can't read 'upper' of a value of 5,000,000 bytes, because such a "
        "large value is kept in the object store: pass it to a tool, which gets the value"
    )


@pytest.mark.parametrize("wrong", [{"object": "0/../etc"}, {"size_bytes": -1}, {"more": 1}])
def test_what_only_looks_like_a_reference_fails_its_step(wrong: dict[str, Any]) -> None:
    @tool(name="novel")
    async def forged() -> Any:
        return REFERENCE | wrong

    @workflow
    async def run(task: Task) -> Any:
        return await task.tool("novel")

    driver = Driver(App("test", workflows=[run], tools=[forged]))
    driver.submit("run")
    driver.run()
    assert driver.result().outcome == "failed"


def test_a_task_whose_journal_has_lost_its_key_spares_the_others() -> None:
    """Its events become dead letters; that it was parked does not stop the stage."""
    driver = played_until(asks, START_MS + 1)
    sealed = MAGIC + bytes([3]) + b"old" + bytes(40)
    memory = driver.state["conduct"]
    journal = [key for key in memory.entries if key.startswith(b"J")]
    memory.apply([*(Write(key, sealed) for key in journal), Write(b"Pt", b"0")])
    driver.restart()
    answer(driver, "a")
    driver.submit("asks", task="another")
    driver.run(until_ms=driver.now_ms + 1)
    told = "the value is encrypted with key 'old', but this process has no keys: set SEGUE_ENCRYPTION_KEYS"
    assert driver.reasons() == [told]
    assert [status.state for status in driver.records("status", "another")] == ["waiting"]


def test_a_bad_request_with_the_id_of_a_task_that_has_ended_leaves_its_result_alone() -> None:
    @workflow
    async def run(task: Task) -> int:
        return 1

    driver = played(run)
    driver.submit("no such workflow")
    driver.run()
    assert driver.result().outcome == "succeeded"
    assert [status.state for status in driver.records("status")] == ["succeeded"]
    assert len(driver.reasons()) == 1


def test_what_a_zombie_writes_of_a_task_that_has_ended_does_not_bring_it_back() -> None:
    @workflow
    async def run(task: Task) -> list[str]:
        return [await task.tool(search, "a"), await task.tool(search, "b")]

    driver = played(run)
    written = driver.written("events")
    journal = [write for act in driver.acts for write in act.write if write.key[:1] == b"J" and write.value]
    driver.state["conduct"].apply(journal[:1])
    driver.restart()
    (first, *_) = [n for n, event in enumerate(driver.records("events")) if event.kind == "step_succeeded"]
    driver.redeliver("events", first)
    driver.run()
    assert driver.written("events") == written

    driver.now_ms += 2 * marks.REMEMBERED_MS + DAY_MS
    driver.run()
    assert driver.state["conduct"].entries == {}


def test_a_request_that_is_rejected_again_and_again_has_one_result_and_a_better_one_begins() -> None:
    driver = Driver(app(asks))
    for _ in range(3):
        driver.submit("no such workflow")
    driver.run()
    assert driver.result().outcome == "rejected"
    assert len(driver.reasons()) == 3
    driver.submit("asks")
    driver.run()
    answer(driver, "a")
    assert [each.outcome for each in driver.records("results")] == ["rejected", "succeeded"]


@pytest.mark.parametrize("given", ["0/timer", "1/1/step_succeeded", "submitted", "0"])
def test_whatever_the_id_of_a_signal_no_step_is_taken_for_it(given: str) -> None:
    @workflow
    async def run(task: Task) -> str:
        await asyncio.sleep(60)
        return await task.tool(search, "Faro")

    driver = Driver(app(run))
    driver.produce("signals", {"kind": "signal", "task": "t", "name": "go", "id": given})
    driver.run(until_ms=START_MS)
    driver.submit("run")
    driver.run(until_ms=START_MS + 1_000)
    driver.produce("signals", {"kind": "signal", "task": "t", "name": "go", "id": given})
    driver.run()
    assert driver.result().result == "found Faro"


@pytest.mark.parametrize("ended", [True, False], ids=["ended", "runs"])
def test_a_parent_learns_that_the_id_of_its_child_is_taken(ended: bool) -> None:
    @workflow
    async def run(task: Task) -> str:
        await asyncio.sleep(60)
        return await task.child(quick if ended else asks)

    @workflow
    async def quick(task: Task) -> str:
        return "done"

    driver = Driver(app(run, quick, asks))
    driver.submit("quick" if ended else "asks", task="t/1")
    driver.submit("run")
    driver.run()
    problem = driver.result().problem
    assert problem is not None
    assert (problem.type, "the id 't/1' of this child belongs to another task" in problem.message) == (
        "IdTaken",
        True,
    )


def test_a_timer_for_ever_and_ever_is_set_and_one_for_no_time_is_refused() -> None:
    @workflow
    async def run(task: Task) -> str:
        try:
            await asyncio.sleep(float("nan"))
        except ValueError:
            await asyncio.sleep(float("inf"))
        return "at last"

    driver = Driver(app(run))
    driver.submit("run")
    driver.run(until_ms=START_MS + DAY_MS)
    [delay] = driver.records("delays")
    assert delay.due_ms == 2**62
