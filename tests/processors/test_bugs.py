"""A task whose workflow has a bug waits for mended code, or is cancelled and fails by it."""

import asyncio
import math
from collections.abc import Callable
from typing import Any

import pytest

from segue import BUGS, App, BadInput, Permanent, Task, Workflow, current_attempt, tool, workflow
from segue.streams.testing.replay import Replay
from segue.topics.records import NotUndone, Status
from tests.driver import Driver
from tests.processors.rooms import cancel_room, reserve, reserve_later

ADVICE = "fix the workflow and deploy it, and the task continues from here; or cancel the task, and it fails"


@tool(retries=0)
async def leave_it() -> None:
    raise Permanent(f"no way back from {current_attempt().undoes}")


def app(*workflows: Workflow[Any, Any]) -> App:
    return App("x", workflows=workflows, tools=[cancel_room, reserve, reserve_later, leave_it])


Mistake = Callable[[str], str]


def books(mistake: Mistake, **said: Any) -> Workflow[Any, Any]:
    """Reserves a room, does something with it that may be a mistake, and reserves another."""

    @workflow(name="books", **said)
    async def run(task: Task) -> list[str]:
        room = await task.tool(reserve, "Faro")
        other = await task.tool(reserve, mistake(room))
        return [room, other, await task.signal("go")]

    return run


def right(room: str) -> str:
    return f"beside {room}"


def wrong(room: str) -> str:
    return {"Faro 1": "beside"}[room.lower()]


def wrong_too(room: str) -> str:
    return room.place  # type: ignore[attr-defined,no-any-return]


def mistaken(error: BaseException) -> Mistake:
    def mistake(room: str) -> str:
        raise error

    return mistake


def played(run: Workflow[Any, Any], **options: Any) -> Driver:
    driver = Driver(app(run), **options)
    driver.submit(run.name)
    driver.run()
    return driver


def signalled(driver: Driver, kind: str = "signal") -> Driver:
    about = {"name": "go", "value": "went"} if kind == "signal" else {"reason": "enough"}
    driver.produce("signals", {"kind": kind, "task": "t", **about})
    driver.run()
    return driver


def mended(driver: Driver, run: Workflow[Any, Any]) -> Driver:
    driver.restart(app(run))
    driver.run()
    return driver


def standing(driver: Driver) -> Status:
    found: list[Status] = driver.records("status", "t")
    return found[-1]


ENDS = ["Faro 1", "beside Faro 1 1", "went"]


# ---------------------------------------------------------------- it waits


def test_a_task_waits_at_a_bug_and_goes_on_with_mended_code() -> None:
    driver = signalled(played(books(wrong)))
    status = standing(driver)
    assert (status.state, driver.ran) == ("parked", ["t/0/1 reserve"])
    assert status.problem is not None
    assert (status.problem.type, status.problem.message) == ("KeyError", f"KeyError: 'faro 1': {ADVICE}")
    assert 'return {"Faro 1": "beside"}[room.lower()]' in (status.problem.traceback or "")
    assert mended(driver, books(right)).result().result == ENDS
    assert driver.ran == ["t/0/1 reserve", "t/1/1 reserve"], "each once"


@pytest.mark.parametrize("exactly_once", [True, False])
def test_mended_code_goes_on_wherever_it_is_crashed(exactly_once: bool) -> None:
    whole = mended(signalled(played(books(wrong))), books(right))
    for point in range(len(whole.acts)):
        options = {"crashes": {point: 1}, "exactly_once": exactly_once}
        crashed = mended(signalled(played(books(wrong), **options)), books(right))
        assert {each.model_dump_json() for each in crashed.records("results")} == {
            whole.result().model_dump_json()
        }
        assert set(crashed.ran) == set(whole.ran), point
        assert not exactly_once or crashed.written() == whole.written(), point


def test_what_was_asked_for_at_the_mistake_is_not_done_unless_mended_code_asks_too() -> None:
    @workflow(name="run")
    async def begins_too_much(task: Task) -> None:
        await task.tool(reserve, "Faro")
        asyncio.create_task(task.tool(reserve, "Porto"))  # noqa: RUF006 - that is the mistake
        await asyncio.sleep(0)
        raise NameError("x")

    @workflow(name="run")
    async def begins_another(task: Task) -> str:
        await task.tool(reserve, "Faro")
        return await task.tool(reserve, "Lagos")

    driver = played(begins_too_much)
    assert driver.ran == ["t/0/1 reserve"]
    assert mended(driver, begins_another).result().result == "Lagos 1"


def test_code_that_has_another_bug_is_told_too_and_the_same_one_only_once() -> None:
    driver = mended(mended(played(books(wrong)), books(wrong)), books(wrong_too))
    told: list[Status] = driver.records("status")
    assert [each.problem and each.problem.type for each in told] == [None, "KeyError", "AttributeError"]
    assert signalled(mended(driver, books(right))).result().result == ENDS


def test_a_bug_before_the_first_step_waits_as_well() -> None:
    @workflow(name="run")
    async def broken(task: Task) -> str:
        raise NotImplementedError

    @workflow(name="run")
    async def whole(task: Task) -> str:
        return await task.tool(reserve, "Faro")

    assert mended(played(broken), whole).result().result == "Faro 1"


def test_a_parent_waits_for_its_child_to_be_mended() -> None:
    @workflow
    async def parent(task: Task) -> str:
        return str(await task.child("books", id="t"))

    driver = Driver(app(parent, books(wrong)))
    driver.submit("parent", task="p")
    driver.run()
    assert standing(driver).state == "parked"
    driver.restart(app(parent, books(right)))
    driver.run()
    assert signalled(driver).result("p").result == str(ENDS)


# ---------------------------------------------------------------- or fails


def test_cancelled_it_fails_by_the_bug_and_undoes_what_it_did() -> None:
    driver = signalled(played(books(wrong)), "cancel")
    result = driver.result()
    assert (result.outcome, result.problem and result.problem.message) == ("failed", "KeyError: 'faro 1'")
    assert driver.ran == ["t/0/1 reserve", "t/1/1 cancel_room"]


def test_a_cancellation_is_heard_once_no_more_than_a_restart_forgets_it() -> None:
    driver = played(books(wrong))
    driver.produce("signals", {"kind": "cancel", "task": "t", "id": "c"})
    driver.produce("signals", {"kind": "cancel", "task": "t", "id": "c"})
    while driver.act():
        if driver.acts[-1].publish or driver.acts[-1].write:
            driver.restart()
    driver.run()
    assert driver.result().outcome == "failed"
    assert driver.ran == ["t/0/1 reserve", "t/1/1 cancel_room"]


def test_a_parent_that_no_longer_waits_ends_a_child_at_a_bug() -> None:
    @workflow
    async def parent(task: Task) -> str:
        try:
            async with asyncio.timeout(60):
                return str(await task.child("books", id="t"))
        except TimeoutError:
            return "went on"

    driver = Driver(app(parent, books(wrong)))
    driver.submit("parent", task="p")
    driver.run()
    assert (driver.result("p").result, driver.result("t").outcome) == ("went on", "failed")


def test_a_bug_of_its_undoing_does_not_stop_the_rest() -> None:
    @workflow(name="books")
    async def run(task: Task) -> None:
        await task.tool(reserve, "Faro")
        task.undo_by(leave_it)
        raise TypeError("no")

    result = signalled(played(run), "cancel").result()
    assert [left.undo for left in result.not_undone] == ["leave_it"]
    assert isinstance(result.not_undone[0], NotUndone)


def test_code_that_fails_where_other_code_went_on_ends_nothing() -> None:
    """What the other code did since would not be undone."""
    driver = mended(played(books(right)), books(wrong))
    assert standing(signalled(driver, "cancel")).state == "parked"
    result = mended(driver, books(right)).result()
    assert result.outcome == "cancelled"
    assert driver.ran[-2:] == ["t/3/1 cancel_room", "t/4/1 cancel_room"]


def test_a_step_in_flight_that_only_other_code_knows_is_not_forgotten() -> None:
    @workflow(name="run")
    async def whole(task: Task) -> None:
        await task.tool(reserve, "Faro")
        await task.tool(reserve_later)

    @workflow(name="run")
    async def broken(task: Task) -> None:
        await task.tool(reserve, "Faro")
        raise AttributeError

    driver = Driver(app(whole))
    driver.submit("run")
    driver.run(until_ms=driver.now_ms + 1)
    driver.restart(app(broken))
    driver.produce("signals", {"kind": "cancel", "task": "t"})
    driver.run()
    assert standing(driver).state == "parked"
    assert mended(driver, whole).result().outcome == "cancelled"
    assert driver.ran[-2:] == ["t/2/1 cancel_room", "t/3/1 cancel_room"]


def test_what_code_with_a_later_bug_owes_is_asked_for_by_the_code_that_has_none() -> None:
    def run(bug: int) -> Workflow[Any, Any]:
        @workflow(name="run")
        async def goes_so_far(task: Task) -> list[Any]:
            room = await task.tool(reserve, "Faro")
            assert bug != 1
            other = asyncio.create_task(task.tool(reserve, "Porto"))
            went = await task.signal("go")
            assert bug != 2
            return [room, await other, went]

        return goes_so_far

    driver = signalled(played(run(1)))
    assert mended(mended(driver, run(2)), run(3)).result().result == ["Faro 1", "Porto 1", "went"]


# ---------------------------------------------------------------- what is a bug


@pytest.mark.parametrize("error", [bug("x") for bug in BUGS], ids=lambda error: type(error).__name__)
def test_what_only_other_code_mends_is_a_bug(error: Exception) -> None:
    assert standing(played(books(mistaken(error)))).state == "parked"


@pytest.mark.parametrize(
    ("error", "bugs"),
    [
        (ValueError("no room"), BUGS),
        (RuntimeError("no"), BUGS),
        (KeyError("x"), ()),
        (KeyError("x"), (ValueError,)),
        (Permanent("on purpose"), (Exception,)),
    ],
)
def test_of_other_exceptions_a_task_fails(error: Exception, bugs: Any) -> None:
    assert played(books(mistaken(error), bugs=bugs)).result().outcome == "failed"


def test_a_workflow_says_what_its_bugs_are() -> None:
    assert standing(played(books(mistaken(ValueError("x")), bugs=(*BUGS, ValueError)))).state == "parked"


@pytest.mark.parametrize("bugs", [KeyError, ("KeyError",), (KeyboardInterrupt,), [KeyError]])
def test_what_can_be_no_bug_is_refused_where_it_is_declared(bugs: Any) -> None:
    with pytest.raises(BadInput, match="is not a tuple of exception classes"):
        books(right, bugs=bugs)


def test_a_step_that_gave_up_is_no_bug() -> None:
    @workflow(bugs=(Exception,))
    async def run(task: Task) -> None:
        await task.tool(leave_it)

    assert played(run).result().outcome == "failed"


def test_what_the_workflow_catches_is_no_bug() -> None:
    @workflow
    async def run(task: Task) -> str:
        try:
            return {"place": "Faro"}["room"]
        except KeyError:
            return await task.tool(reserve, "Faro")

    assert played(run).result().result == "Faro 1"


def test_one_bug_of_several_at_once_is_enough() -> None:
    @workflow
    async def run(task: Task) -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(task.tool(leave_it))
            group.create_task(sleeps_and_fails(task))

    async def sleeps_and_fails(task: Task) -> None:
        try:
            await task.sleep(60)
        finally:
            raise IndexError

    assert standing(played(run)).state == "parked"


# ---------------------------------------------------------------- what JSON can't hold

HALF = "caf\udce9"
"""As Python has file names that are no UTF-8."""


ASKS: dict[str, Callable[[Task], Any]] = {
    "argument": lambda task: task.tool(reserve, HALF),
    "question": lambda task: task.ask("ada", HALF),
    "addressee": lambda task: task.ask(HALF, "well?"),
    "option": lambda task: task.ask("ada", "well?", options={"yes": object()}),
    "child": lambda task: task.child("run", HALF),
    "object": lambda task: task.tool("reserve", place=object()),
    "infinity": lambda task: task.tool("reserve", place=[math.inf, "Infinity"]),
}


@pytest.mark.parametrize("ask", ASKS.values(), ids=ASKS)
def test_to_ask_with_what_json_can_not_hold_is_a_bug(ask: Callable[[Task], Any]) -> None:
    @workflow
    async def run(task: Task) -> str:
        return str(await ask(task))

    driver = played(run)
    assert driver.bug().type == "BadInput"
    assert "can't" in driver.bug().message
    assert not driver.reasons()


@pytest.mark.parametrize("view", [HALF, object(), {"of": object()}], ids=["text", "object", "within"])
def test_to_show_what_json_can_not_hold_is_a_bug(view: Any) -> None:
    @workflow
    async def run(task: Task) -> None:
        task.set_view(view)

    assert played(run).bug().type == "BadInput"


def test_a_task_that_fails_by_such_words_ends_and_tells_them() -> None:
    result = played(books(mistaken(ValueError(HALF)))).result()
    assert (result.outcome, result.problem and result.problem.message) == ("failed", r"ValueError: caf\udce9")


# ---------------------------------------------------------------- replay


def history(driver: Driver) -> list[Any]:
    return [record for topic in ("events", "results") for record in driver.logs[topic]]


def test_a_replay_tells_whether_mended_code_would_go_on() -> None:
    driver = signalled(played(books(wrong)))
    still = Replay(app(books(wrong)), history(driver))
    assert list(still)
    assert still.parked is not None
    assert still.parked.type == "KeyError"
    whole = Replay(app(books(right)), history(driver))
    assert list(whole)
    assert whole.parked is None


def test_a_replay_of_a_task_that_was_cancelled_at_a_bug_ends_as_it_did() -> None:
    driver = signalled(played(books(wrong)), "cancel")
    replay = Replay(app(books(wrong)), history(driver))
    assert list(replay)
    assert (replay.parked, replay.different_ending) == (None, None)
