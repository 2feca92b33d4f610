"""Workflows that use all of the API, small enough to be crashed at every point.

A `Case` is a workflow with what comes from outside while it runs and how it must end. The laws in
`test_laws.py` hold for every case; a new way to wait belongs here.
"""

import asyncio
from collections.abc import AsyncGenerator, Callable
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from random import Random
from typing import Any, TypeVar, cast

from pydantic import BaseModel

from segue import (
    App,
    Check,
    ModelRoute,
    OutputRejected,
    Permanent,
    Policy,
    Retryable,
    StepError,
    Task,
    Tool,
    ToolRoute,
    Workflow,
    check,
    current_attempt,
    tool,
    workflow,
)
from segue.processors.routing.routes import AnyRoute
from segue.topics.records import CallModel, Outcome
from tests.driver import START_MS, Driver, Model

# ---------------------------------------------------------------- what the workflows call


class Stay(BaseModel):
    place: str
    arrives: date
    nights: int = 1


class Hotel(BaseModel):
    id: str
    price: int


@tool
async def find(place: str, count: int = 2) -> list[Hotel]:
    return [Hotel(id=f"{place}-{number}", price=100 + number) for number in range(count)]


@tool
async def describe(stay: Stay) -> Stay:
    return stay.model_copy(update={"nights": stay.nights + 1})


@tool(local=True)
async def upper(text: str) -> str:
    return text.upper()


@tool(retries=3, local=True)
async def flaky(text: str) -> str:
    """Succeeds at the third attempt."""
    if current_attempt().attempt < 3:
        raise Retryable("not yet")
    return text


@tool(retries=1)
async def patient(text: str) -> str:
    if current_attempt().attempt == 1:
        raise Retryable("too many requests", retry_after_s=120)
    return text


@tool(retries=0)
async def broken(text: str) -> str:
    raise Permanent(f"no {text} today")


@tool(retries=2)
async def release(room: Hotel) -> str:
    """Succeeds at the second attempt."""
    if current_attempt().attempt < 2:
        raise Retryable("not yet")
    return f"released {room.id}"


@tool(undo=release, local=True)
async def reserve(name: str, price: int = 100) -> Hotel:
    return Hotel(id=name, price=price)


@tool(retries=0)
async def withdraw() -> str:
    return f"withdrew {current_attempt().undoes}"


@tool(undo=withdraw, retries=0)
async def pay(price: int) -> str:
    raise Permanent("declined")


@tool(retries=0)
async def keep_it(room: Hotel) -> None:
    raise Permanent("no way back")


@tool(retries=1, undo=release)
async def slow_to_reserve(name: str) -> Hotel:
    if current_attempt().attempt == 1:
        raise Retryable("busy", retry_after_s=60)
    return Hotel(id=name, price=1)


@check
def at_most(output: str, length: int) -> None:
    if len(output) > length:
        raise OutputRejected(f"longer than {length}")


@check
def affordable(output: Hotel, ceiling: int) -> None:
    if output.price > ceiling:
        raise OutputRejected(f"costs {output.price}, more than {ceiling}")


fallback = ToolRoute("fallback", [broken, upper], output=str)


def rank(call: CallModel) -> Any:
    """Dearer than allowed, then malformed, then right."""
    answers: list[Any] = [{"id": "a", "price": 900}, {"id": "b", "price": "dear"}, {"id": "c", "price": 90}]
    return answers[call.attempt - 1]


def stubborn(call: CallModel) -> str:
    return "always too long"


def second_opinion(call: CallModel) -> str:
    """Its first candidate never listens; its second does at once."""
    return "fine" if call.candidate_index == 1 else "always too long"


def malformed(call: CallModel) -> Any:
    return {"id": 7}


MODELS: dict[str, Model] = {
    "rank": rank,
    "stubborn": stubborn,
    "second": second_opinion,
    "malformed": malformed,
}
ROUTES: list[AnyRoute] = [
    ModelRoute("rank", ["small"], policy=Policy(max_reprompts=2)),
    ModelRoute("stubborn", ["small"], policy=Policy(max_reprompts=1)),
    ModelRoute("second", ["small", "large"], policy=Policy(max_reprompts=1)),
    ModelRoute("malformed", ["small", "large"], policy=Policy(max_reprompts=1)),
    fallback,
]
TOOLS: list[Tool[..., Any]] = [
    find,
    describe,
    upper,
    flaky,
    patient,
    broken,
    reserve,
    pay,
    slow_to_reserve,
    keep_it,
]
CHECKS: list[Check[Any, ...]] = [at_most, affordable]

# ---------------------------------------------------------------- cases


@dataclass(frozen=True, eq=False)
class Case:
    """A workflow, its input, the signals that come from outside so many seconds after it began, and its end.

    `races` marks a workflow whose result may depend on which of several steps ends first.
    """

    workflow: Workflow[Any, Any]
    input: Any
    expected: Any
    outcome: Outcome = "succeeded"
    signals: tuple[tuple[float, dict[str, Any]], ...] = ()
    races: bool = False

    @property
    def name(self) -> str:
        return self.workflow.name

    def play(self, driver: Driver) -> Driver:
        driver.submit(self.name, self.input)
        for number, (after_s, signal) in enumerate(self.signals):
            driver.run(until_ms=START_MS + round(after_s * 1000))
            driver.produce("signals", {"task": "t", "id": f"outside-{number}", **signal})
        driver.run()
        return driver


W = TypeVar("W", bound=Workflow[Any, Any])

CASES: list[Case] = []
CHILDREN: list[Workflow[Any, Any]] = []


def case(
    value: Any = None,
    *,
    ends: Any = None,
    outcome: Outcome = "succeeded",
    signals: tuple[tuple[float, dict[str, Any]], ...] = (),
    races: bool = False,
) -> Callable[[W], W]:
    def declare(declared: W) -> W:
        CASES.append(Case(declared, value, ends, outcome, signals, races))
        return declared

    return declare


def answer(value: Any, step: int | None = None) -> dict[str, Any]:
    return {"kind": "answer", "value": value, "step": step, "by": "ada"}


def signal(name: str, value: Any) -> dict[str, Any]:
    return {"kind": "signal", "name": name, "value": value}


CANCEL: dict[str, Any] = {"kind": "cancel", "reason": "changed my mind"}

FORCE = {**CANCEL, "force": True}
BY_FORCE = "changed my mind: cancelled by force, so nothing was cleaned up or undone"


# ---------------------------------------------------------------- tools, retries, fallbacks


@case("lisbon", ends=["LISBON-0", "LISBON-1"])
@workflow
async def sequence(task: Task, place: str) -> list[str]:
    hotels = await task.tool(find, place)
    return [await task.tool(upper, hotel.id) for hotel in hotels]


@case(ends=["a", "b", "C", "d"])
@workflow
async def retries(task: Task) -> list[str]:
    once = [await task.tool(flaky, "a"), await task.tool(patient, text="b")]
    return [*once, *await asyncio.gather(task.tool(upper, "c"), task.tool(flaky, "d"))]


@case(ends=["X", "broken: no y today"])
@workflow
async def fallbacks(task: Task) -> list[str]:
    found = [await task.tool(fallback, text="x")]
    try:
        await task.tool(broken, "y")
    except StepError as error:
        found.append(str(error))
    return found


@case(outcome="failed", ends="broken: no z today")
@workflow
async def fails(task: Task) -> None:
    await task.tool(upper, "fine so far")
    await task.tool(broken, "z")


@case(
    {"place": "Faro", "arrives": "2026-10-01"}, ends={"place": "Faro", "arrives": "2026-10-01", "nights": 2}
)
@workflow
async def typed(task: Task, stay: Stay) -> Stay:
    assert stay.arrives == date(2026, 10, 1)
    return await task.tool(describe, stay)


@case(outcome="failed", ends="BadOutput", signals=((5, CANCEL),))
@workflow
async def returns_another_type(task: Task) -> int:
    text: Any = await task.tool("upper", text="a")
    return cast("int", text)


@case(ends=600)
@workflow
async def long(task: Task) -> int:
    answers = [await task.tool(upper, "abc") for _ in range(200)]
    return sum(map(len, answers))


# ---------------------------------------------------------------- several at once


@case(ends=["A", "B", "c"])
@workflow
async def fans_out(task: Task) -> list[str]:
    async with asyncio.TaskGroup() as group:
        first = group.create_task(task.tool(upper, "a"))
        second = group.create_task(task.tool(upper, "b"))
        third = group.create_task(task.tool(flaky, "c"))
    return [first.result(), second.result(), third.result()]


@case(ends=["A", "StepError", "broken: no b today", "C"])
@workflow
async def gathers_failures(task: Task) -> list[str]:
    steps = (task.tool(upper, "a"), task.tool(broken, "b"), task.tool(upper, "c"))
    first, second, third = await task.gather(*steps, failures="return")
    assert isinstance(second, StepError)
    return [str(first), type(second).__name__, str(second), str(third)]


@case(ends=["undo a", "undo b", "undo c", "no group today"])
@workflow
async def group_fails_and_cleans_up(task: Task) -> list[str]:
    log: list[str] = []

    async def with_clean_up(name: str) -> None:
        try:
            await asyncio.sleep(1000)
        finally:
            await task.tool(upper, f"undo {name}")
            log.append(f"undo {name}")

    try:
        async with asyncio.TaskGroup() as group:
            for name in "abc":
                group.create_task(with_clean_up(name))
            await asyncio.sleep(1)
            group.create_task(task.tool(broken, "group"))
    except* StepError as errors:
        log.append(str(errors.exceptions[0]).removeprefix("broken: "))
    return log


@case(ends=["FIRST", 2], races=True)
@workflow
async def waits_for_the_first(task: Task) -> list[Any]:
    steps = [
        asyncio.create_task(task.tool(upper, "first")),
        asyncio.create_task(task.tool(flaky, "second")),
        asyncio.create_task(task.tool(patient, "third")),
    ]
    done, pending = await asyncio.wait(steps, return_when=asyncio.FIRST_COMPLETED)
    for step in pending:
        step.cancel()
    return [step.result() for step in done] + [len(pending)]


@case(ends=["A", "b", "c"])
@workflow
async def as_they_complete(task: Task) -> list[str]:
    steps = [
        asyncio.create_task(step)
        for step in (task.tool(patient, "c"), task.tool(flaky, "b"), task.tool(upper, "a"))
    ]
    return [await step for step in asyncio.as_completed(steps)]


@case(ends=[0, 10, 20, 30])
@workflow
async def queue_and_locks(task: Task) -> list[int]:
    queue: asyncio.Queue[int] = asyncio.Queue(maxsize=1)
    done, lock, two = asyncio.Event(), asyncio.Lock(), asyncio.Semaphore(2)
    seen: list[int] = []

    async def work() -> None:
        while True:
            number = await queue.get()
            async with two, lock:
                await task.tool(upper, str(number))
                seen.append(number * 10)
            if len(seen) == 4:
                done.set()

    workers = [asyncio.create_task(work()) for _ in range(3)]
    for number in range(4):
        await queue.put(number)
    await done.wait()
    for worker in workers:
        worker.cancel()
    return seen


@case(ends=["A", "B", "closed"])
@workflow
async def async_generator(task: Task) -> list[str]:
    log: list[str] = []

    async def letters() -> AsyncGenerator[str, None]:
        try:
            for letter in "abc":
                yield await task.tool(upper, letter)
        finally:
            log.append("closed")

    source = letters()
    async for letter in source:
        log.append(letter)
        if letter == "B":
            break
    await source.aclose()
    return log


# ---------------------------------------------------------------- models


@case(ends={"id": "c", "price": 90})
@workflow
async def refused_twice(task: Task) -> Hotel:
    return await task.model("rank", "which?", output=Hotel, check=affordable(ceiling=100))


@case(ends="fine")
@workflow
async def next_model(task: Task) -> str:
    return await task.model("second", ["say", "little"], check=at_most(length=5))


@case(ends=["stubborn: longer than 5", "malformed"])
@workflow
async def no_model_will_do(task: Task) -> list[str]:
    log: list[str] = []
    try:
        await task.model("stubborn", "say little", check=[at_most(length=20), at_most(length=5)])
    except StepError as error:
        log.append(str(error))
    try:
        await task.model("malformed", "which?", output=Hotel)
    except StepError as error:
        log.append(error.name)
    return log


# ---------------------------------------------------------------- people and signals


@case(
    ends=[{"id": "x-1", "price": 101}, "2026-10-01", "no answer", "StepError"],
    signals=((5, answer("the dear one", 0)), (9, answer({"place": "Faro", "arrives": "2026-10-01"}))),
)
@workflow
async def asks(task: Task) -> list[Any]:
    cheap, dear = Hotel(id="x-0", price=100), Hotel(id="x-1", price=101)
    picked = await task.ask("ada", "which?", options={"the cheap one": cheap, "the dear one": dear})
    stay = await task.ask("ada", "when?", answer=Stay)
    late = await task.ask("ada", "still there?", timeout=timedelta(hours=1), default="no answer")
    try:
        await task.ask("ada", "hello?", timeout=timedelta(hours=1))
    except StepError as error:
        return [picked.model_dump(), stay.arrives.isoformat(), late, type(error).__name__]
    return []


@case(
    ends=["early", "first", "second", 3],
    signals=(
        (0, signal("go", "early")),
        (2, signal("go", "first")),
        (2, signal("other", 3)),
        (2, signal("go", "second")),
    ),
)
@workflow
async def takes_signals_in_order(task: Task) -> list[Any]:
    await task.sleep(1)
    taken = [await task.signal("go", str) for _ in range(3)]
    return [*taken, await task.signal("other")]


@case(
    ends=[1, 2, 3],
    signals=(
        (0, signal("go", "none of those kept")),
        (0, signal("go", 1)),
        (2, signal("go", "none that is waited for")),
        (2, signal("go", 2)),
        (2, signal("go", 3)),
    ),
)
@workflow
async def waits_on_for_signals_that_fit(task: Task) -> list[int]:
    await task.sleep(1)
    return [await task.signal("go", int) for _ in range(3)]


@case(ends="cleaned up", outcome="cancelled", signals=((3, CANCEL),))
@workflow
async def cleans_up_when_cancelled(task: Task) -> None:
    try:
        await task.sleep(100)
    finally:
        await task.tool(upper, "clean up")
        await task.sleep(1)
        await task.tool(flaky, "clean up more")


@case(ends=BY_FORCE, outcome="cancelled", signals=((3, CANCEL), (4, FORCE)))
@workflow
async def is_ended_by_force(task: Task) -> None:
    """With a call in flight, a child open, and its clean-up under way."""
    child = asyncio.create_task(task.child(child_waits))
    try:
        await task.tool(reserve, "a")
        await task.signal("never")
    finally:
        await task.tool(slow_to_reserve, "b")
        await child


@case(ends="kept on", signals=((3, CANCEL),))
@workflow
async def refuses_to_be_cancelled(task: Task) -> str:
    try:
        await task.sleep(100)
    except BaseException:  # noqa: BLE001
        await task.tool(upper, "never mind")
    return "kept on"


# ---------------------------------------------------------------- time and chance


@case(ends=["timeout", "2026-09-21T14:14:00+00:00", 0.0])
@workflow
async def sleeps(task: Task) -> list[Any]:
    began = task.now()
    await task.sleep(timedelta(seconds=10))
    await task.sleep_until(began - timedelta(days=1))
    try:
        async with asyncio.timeout(20):
            await task.tool(patient, "never in time")
        log = "in time"
    except TimeoutError:
        log = "timeout"
    await task.sleep_until(datetime(2026, 9, 21, 14, 14, tzinfo=UTC))
    return [log, task.now().isoformat(), (task.now() - task.now()).total_seconds()]


@case(ends=True)
@workflow
async def takes_its_chances(task: Task) -> bool:
    drawn = [task.random.random(), len(task.uuid())]
    await task.tool(upper, str(drawn))
    await task.tool(upper, task.uuid())
    again = Random(task.id)
    return drawn[0] == again.random()


# ---------------------------------------------------------------- children


@workflow
async def doubles(task: Task, number: int) -> int:
    await task.sleep(1)
    same = await task.tool(upper, str(number))
    return 2 * int(same)


@workflow
async def child_fails(task: Task) -> None:
    await task.tool(broken, "child")


@workflow
async def child_waits(task: Task) -> None:
    try:
        await task.signal("never")
    finally:
        await task.tool(upper, "the child cleans up")


CHILDREN.extend([doubles, child_fails, child_waits])


@case(ends=[14, 20, "child_fails: broken: no child today", "timeout"])
@workflow
async def has_children(task: Task) -> list[Any]:
    log: list[Any] = list(await asyncio.gather(task.child(doubles, 7), task.child(doubles, 10)))
    try:
        await task.child(child_fails)
    except StepError as error:
        log.append(str(error))
    try:
        async with asyncio.timeout(5):
            await task.child(child_waits)
    except TimeoutError:
        log.append("timeout")
    return log


# ---------------------------------------------------------------- what is undone


@case(outcome="failed", ends="pay: declined")
@workflow
async def is_undone(task: Task) -> None:
    first = await task.tool(reserve, "a")
    await task.gather(task.tool(reserve, "b", price=2), task.tool(reserve.undone_by(keep_it), "c"))
    await task.tool(upper, "not undone")
    task.undo_by(upper, f"undo {first.id}")
    await task.tool(pay, 7)


@case(outcome="cancelled", ends="changed my mind", signals=((3, CANCEL), (70, CANCEL)))
@workflow
async def is_undone_when_cancelled(task: Task) -> None:
    """One step is in flight when the task is cancelled, and succeeds later."""
    await task.tool(reserve, "a")
    await task.tool(slow_to_reserve, "b")


@case(outcome="failed", ends="KeyError: 'rooms'", signals=((80, signal("word", "x")), (200, CANCEL)))
@workflow
async def is_broken(task: Task) -> None:
    """With steps under way at its mistake, and one asked for then; a timer fires while it is parked."""
    others = [asyncio.create_task(task.signal("word")), asyncio.create_task(task.sleep(100))]
    await task.tool(reserve, "a")
    others.append(asyncio.create_task(task.tool(slow_to_reserve, "b")))
    await task.tool(reserve, "c")
    others.append(asyncio.create_task(task.tool(reserve, "d")))
    await asyncio.sleep(0)
    raise KeyError("rooms")


@case(ends=["pay: declined", "b"])
@workflow
async def undoes_a_part(task: Task) -> list[str]:
    log: list[str] = []
    try:
        async with task.saga():
            await task.tool(reserve, "a")
            async with task.saga():
                await task.tool(reserve, "c")
            await task.tool(pay, 7)
    except StepError as error:
        log.append(str(error))
    async with task.saga():
        log.append((await task.tool(reserve, "b")).id)
    return log


# ---------------------------------------------------------------- views, and going on anew


@case(ends=[0, 1, 2])
@workflow
async def shows(task: Task) -> list[int]:
    seen: list[int] = []
    for number in range(3):
        task.set_view({"done": number, "of": 3})
        await task.tool(upper, "a")
        seen.append(number)
    task.set_view(seen)
    return seen


class Heard(BaseModel):
    runs: int = 0
    words: list[str] = []


@case(
    {},
    ends=["3 runs", "0", "1", "late", "2", "C", "end"],
    signals=(
        (0, signal("word", "0")),
        (0, signal("word", "1")),
        (5, signal("word", "late")),
        (1200, signal("word", "2")),
        (2600, signal("end", "end")),
    ),
)
@workflow
async def goes_on_anew(task: Task, heard: Heard) -> list[str]:
    """Leaves a child, a timer, a question and a signal open at the end of its first runs."""
    task.set_view(heard.runs)
    words = list(heard.words)
    open_ones: list[asyncio.Task[Any]] = []
    if heard.runs < 3:
        open_ones.append(asyncio.create_task(task.child(child_waits)))
        open_ones.append(asyncio.create_task(task.ask("ada", "still there?", timeout=timedelta(hours=1))))
        open_ones.append(asyncio.create_task(task.signal("other")))
        await task.sleep(1 if heard.runs == 0 else 1000)
        words += [await task.signal("word", str) for _ in range(1 if heard.runs != 1 else 2)]
        task.continue_as_new(Heard(runs=heard.runs + 1, words=words))
    words.append(await task.tool(upper, "c"))
    return [f"{heard.runs} runs", *words, await task.signal("end", str)]


from tests import constructs as constructs  # noqa: E402, PLC0414 - more cases, by what stands above

APP = App(
    "corpus",
    workflows=[*(case.workflow for case in CASES), *CHILDREN],
    tools=TOOLS,
    routes=ROUTES,
    checks=CHECKS,
)


def driver(**options: Any) -> Driver:
    return Driver(APP, MODELS, **options)
