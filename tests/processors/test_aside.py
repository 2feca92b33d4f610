"""A record that a stage can't process is put aside, and its task does not wait for ever."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from segue import App, ModelRoute, StepError, Task, check, tool, workflow
from segue.processors.stages import delay, outcome
from segue.processors.stages import tool as tools
from segue.processors.stages.conduct import Conduct
from segue.processors.stages.delay import Delays
from segue.processors.stages.intake import Intake
from segue.processors.stages.recover import Recover
from segue.topics.errors import Retryable
from segue.topics.flow import Decision, Publish, Received
from segue.topics.records import CallTool, Delay, Status
from tests.driver import Driver

BUG = "RuntimeError: a bug"


@tool(retries=1)
async def flaky(times: int) -> str:
    raise Retryable("busy")


@tool
async def find(place: str) -> str:
    return f"{place} 1"


@check
def short(output: str) -> None: ...


@workflow
async def finds(task: Task, place: str) -> str:
    return await task.tool(find, place)


@workflow
async def fails(task: Task, place: str) -> str:
    return await task.tool(flaky, 1)


@workflow
async def asks(task: Task, place: str) -> str:
    return await task.model("says", place, check=short())


@workflow
async def sleeps(task: Task, place: str) -> str:
    await task.sleep(timedelta(hours=1))
    return "awake"


@workflow
async def waits(task: Task, place: str) -> str:
    await task.signal("go")
    return "went"


def app() -> App:
    return App(
        "x",
        workflows=[finds, fails, asks, sleeps, waits],
        tools=[flaky, find],
        checks=[short],
        routes=[ModelRoute("says", ["a"])],
    )


def driver(name: str) -> Driver:
    played = Driver(app(), {"says": lambda _: "short"})
    played.submit(name, "Porto")
    return played


def boom(*_: Any, **__: Any) -> Any:
    raise RuntimeError("a bug")


def at(number: int) -> Callable[..., Decision]:
    """Conduct's conclusion with a bug that shows at its call of that number."""
    calls = iter(range(1_000))
    conclude: Callable[..., Decision] = vars(Conduct)["_conclude"]
    return lambda *args: boom() if next(calls) == number else conclude(*args)


def stands(played: Driver) -> Status:
    found: list[Status] = played.records("status", "t")
    return found[-1]


@pytest.mark.parametrize(
    ("name", "where", "what", "stage"),
    [
        ("finds", tools, "succeeded", "tool"),
        ("finds", outcome, "replied", "tool"),
        ("asks", outcome, "replied", "model"),
        ("asks", outcome, "accepted", "check"),
        ("fails", Recover, "handle", "recover"),
        ("fails", Delays, "handle", "delay"),
    ],
)
def test_the_step_fails_with_the_reason(
    name: str, where: Any, what: str, stage: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(where, what, boom)
    played = driver(name)
    played.run()
    result = played.result()
    assert result.outcome == "failed"
    assert result.problem is not None
    assert f"stage {stage!r} can't process a record: {BUG}" in result.problem.message
    assert played.reasons() == [BUG]


def test_the_workflow_may_catch_it(monkeypatch: pytest.MonkeyPatch) -> None:
    @workflow
    async def goes_on(task: Task) -> str:
        try:
            return await task.tool(find, "Porto")
        except StepError as error:
            return error.problem.type

    monkeypatch.setattr(tools, "succeeded", boom)
    played = Driver(App("x", workflows=[goes_on], tools=[find]))
    played.submit("goes_on")
    played.run()
    assert played.result().result == "PutAside"


def test_a_request_is_rejected(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Intake, "_request", boom)
    played = driver("finds")
    played.run()
    result = played.result()
    assert result.outcome == "rejected"
    assert result.problem is not None
    assert BUG in result.problem.message


@pytest.mark.parametrize("spoilt", ["arguments", "v", "checks", "more"])
def test_what_can_not_be_read_fails_its_step_all_the_same(spoilt: str) -> None:
    played = driver("finds")
    while not played.logs["tool-calls"]:
        assert played.act()
    [call] = played.records("tool-calls")
    played.logs["tool-calls"].clear()
    played.produce("tool-calls", call.model_dump() | {spoilt: "wrong"})
    played.run()
    if spoilt == "more":  # of a newer worker
        assert played.result().result == "Porto 1"
    else:
        assert played.result().outcome == "failed"
        assert "can't process a record" in (played.result().problem or boom()).message


def test_what_a_newer_worker_wrote_leaves_its_task_parked_until_it_is_sent_again() -> None:
    played = driver("finds")
    while not played.logs["tool-calls"]:
        assert played.act()
    [call] = played.records("tool-calls")
    played.logs["tool-calls"].clear()
    played.produce("tool-calls", call.model_dump() | {"v": 2})
    played.run()
    assert stands(played).state == "parked"
    assert "upgrade it" in (stands(played).problem or boom()).message
    played.produce("tool-calls", call.model_dump())
    played.run()
    assert played.result().result == "Porto 1"


@pytest.mark.parametrize("nonsense", [b"\xff", b"[]", b"null", b'{"task": "t"}', b'{"task": 3, "step": 0}'])
@pytest.mark.parametrize("topic", ["tool-calls", "model-calls", "checks", "failures", "delays", "events"])
def test_of_nonsense_nobody_is_told(topic: str, nonsense: bytes) -> None:
    played = driver("waits")
    played.run()
    played.produce(topic, nonsense)
    before = {name: len(log) for name, log in played.logs.items() if name not in (topic, "dead-letters")}
    played.run()
    assert {name: len(log) for name, log in played.logs.items() if name in before} == before
    assert len(played.reasons()) == 1


def test_a_task_whose_timer_was_put_aside_is_parked_until_something_happens(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with monkeypatch.context() as bug:
        bug.setattr(Delays, "handle", boom)
        played = driver("sleeps")
        played.run()
    parked = stands(played)
    assert parked.state == "parked"
    assert parked.problem is not None
    assert f"stage 'delay' can't process a record: {BUG}" in parked.problem.message
    played.restart()
    played.run()
    assert len(played.records("status", "t")) == 2, "it stays parked, and says so once"
    letter = played.logs["dead-letters"][0]
    played.produce("delays", letter.value or b"")
    played.run()
    assert played.result().result == "awake"


def test_a_task_whose_timer_was_put_aside_can_be_cancelled(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Delays, "handle", boom)
    played = driver("sleeps")
    played.run()
    played.produce("signals", {"kind": "cancel", "task": "t"})
    played.run()
    assert played.result().outcome == "cancelled"


# ---------------------------------------------------------------- what is due


def test_one_delay_that_can_not_be_fired_holds_up_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    fire: Callable[[Delay, Any], Publish] = vars(delay)["_fire"]

    def fire_all_but_one(each: Delay, trace: Any) -> Publish:
        return boom() if each.task == "t" else fire(each, trace)

    monkeypatch.setattr(delay, "_fire", fire_all_but_one)
    played = driver("sleeps")
    for task in ("a", "z"):
        played.submit("sleeps", "Porto", task)
    played.run()
    assert [played.result(task).result for task in "az"] == ["awake", "awake"]
    assert stands(played).state == "parked"
    assert played.reasons() == [BUG]
    assert not played.state["delay"].entries


# ---------------------------------------------------------------- conduct


@pytest.mark.parametrize("number", [0, 1])
def test_a_task_is_parked_where_its_event_failed_and_goes_on_from_there(
    number: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as bug:
        bug.setattr(Conduct, "_conclude", at(number))
        played = driver("finds")
        played.run()
        assert stands(played).state == "parked"
        assert BUG in (stands(played).problem or boom()).message
    played.restart()
    played.run()
    assert played.result().result == "Porto 1"
    assert played.ran == ["t/0/1 find"]


def test_one_task_that_can_not_be_tried_again_stops_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as bug:
        bug.setattr(Conduct, "_conclude", at(1))
        played = driver("finds")
        played.run()
    with monkeypatch.context() as bug:
        bug.setattr(Conduct, "_conclude", at(0))
        played.restart()
        played.submit("finds", "Faro", "u")
        played.run()
    assert stands(played).state == "parked"
    assert played.result("u").result == "Faro 1"
    played.restart()
    played.run()
    assert played.result().result == "Porto 1"


def test_what_comes_meanwhile_is_journaled(monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as bug:
        bug.setattr(Conduct, "_conclude", boom)
        played = driver("waits")
        played.run()
        played.produce("signals", {"kind": "signal", "task": "t", "name": "go", "id": "s"})
        played.run()
        assert stands(played).state == "parked"
    played.restart()
    played.run()
    assert played.result().result == "went"


def test_a_task_that_can_not_be_played_is_parked_and_stops_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    played = driver("waits")
    played.run()
    with monkeypatch.context() as bug:
        bug.setattr("segue.processors.workflow.execution.deliver", boom)
        played.produce("signals", {"kind": "signal", "task": "t", "name": "go", "id": "s"})
        played.run()
        assert stands(played).state == "parked"
        assert BUG in (stands(played).problem or boom()).message
        played.restart()
        played.submit("finds", "Faro", "u")
        played.run()
        assert played.result("u").result == "Faro 1"
    played.restart()
    played.run()
    assert played.result().result == "went"


def test_a_record_of_an_outside_topic_says_nothing_of_a_step() -> None:
    from segue.processors.stages.put_aside import put_aside

    call = CallTool(task="t", step=0, fingerprint="p", workflow="w", route="r", arguments={}, at_ms=0)
    record = Received("signals", 0, 0, b"t", call.model_dump_json().encode(), (), 0)
    assert [each.topic for each in put_aside(record, "intake", "x", 0).publish] == ["dead-letters"]


def test_a_result_that_can_not_be_written_fails_its_step() -> None:
    @tool
    async def half() -> Any:
        return "\ud800"

    @workflow
    async def w(task: Task) -> Any:
        return await task.tool(half)

    played = Driver(App("x", workflows=[w], tools=[half]))
    played.submit("w")
    played.run()
    assert played.result().outcome == "failed"
