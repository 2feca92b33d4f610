"""Schedules: a workflow that starts others when it is time. There is no other machinery.

    Schedule ─▶ the task `schedule/NAME` ─▶ sleeps until the next time ─▶ starts the task `NAME/TIME` ─▶ again

It is a task like any other, so its timer is durable, and whoever asks for it twice has one. The task that it
starts is named after the time that it is for, so that a time is run once, whoever starts it. The next time is
fixed when the one before is done, and stands in the run's input: a new edition of the time zones changes the
times after that, and no journal.

A timer fires late where no worker was there. How late says the step `clock`, whose outcome bears the time.
"""

import asyncio
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import takewhile
from typing import Any, Literal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from cronsim import CronSim, CronSimError
from pydantic import BaseModel, ConfigDict, Field

from segue.processors.app.decorators import workflow
from segue.processors.definitions.workflow import Workflow
from segue.processors.payloads.fingerprint import fingerprint
from segue.processors.routing.tools import tool
from segue.processors.workflow.task import Task
from segue.topics.errors import BadInput, SegueError
from segue.topics.parts import ABSENT, is_absent

Missed = Literal["skip", "once", "all"]
Overlap = Literal["skip", "wait", "allow"]

KEEPER = "segue.schedule"
TOLD = "schedule"
"""The signal that changes a schedule."""

LATE = timedelta(minutes=1)
"""A time that is run later than that was missed."""

AT_ONCE_MAX = 100
"""Of times that were missed and are all run, so many in one run of the schedule."""

LOOK_BACK = (timedelta(days=1), timedelta(days=32), timedelta(days=366 * 8))
"""How far to look for the last time that is past: a year's minutes need not all be counted."""


class Value(BaseModel):
    model_config = ConfigDict(frozen=True)


class Spec(Value):
    """What is to be started and when, as it travels."""

    name: str
    workflow: str
    version: int | None = None
    input: Any = Field(default=ABSENT, exclude_if=is_absent)
    cron: str
    zone: str = "UTC"
    missed: Missed = "once"
    overlap: Overlap = "skip"

    @property
    def fingerprint(self) -> str:
        return fingerprint("schedule", self.name, self.model_dump(mode="json"))


@dataclass(frozen=True)
class Schedule:
    """Starts a workflow at times: `Schedule("nightly", report, cron="0 3 * * *", zone="Europe/Lisbon")`.

    `cron` has five fields, or six with seconds first. Where clocks are put forward, a time of day that does
    not exist is run right after; where they are put back, one that is there twice is run once. `missed` says
    what becomes of times at which no worker was there: the last of them is run (`once`), none, or all.
    `overlap` says what becomes of a time that comes while the task of the last one is open: it is passed over
    (`skip`), or comes when that has ended (`wait`), or both run (`allow`).
    """

    name: str
    workflow: Workflow[Any, Any]
    cron: str
    zone: str = "UTC"
    input: Any = ABSENT
    missed: Missed = "once"
    overlap: Overlap = "skip"

    def __post_init__(self) -> None:
        check(self.spec)

    @property
    def _input(self) -> Any:
        try:
            return ABSENT if self.input is ABSENT else self.workflow.given(self.input)
        except BadInput as error:
            raise BadInput(f"schedule {self.name!r}: its input can't travel: {error}") from None

    @property
    def spec(self) -> Spec:
        return Spec(
            name=self.name,
            workflow=self.workflow.name,
            version=self.workflow.version,
            input=self._input,
            cron=self.cron,
            zone=self.zone,
            missed=self.missed,
            overlap=self.overlap,
        )


class Told(Value):
    """What the schedule is told: how it is from now on, or that it rests, goes on, or is removed."""

    schedule: Spec | None = None
    paused: bool | None = None
    removed: bool = False


class Kept(Value):
    """What a schedule knows from run to run. One that was removed has no `schedule`, and may get another."""

    schedule: Spec | None
    paused: bool = False
    due: datetime | None = None
    last: datetime | None = None
    problem: str | None = None


class View(Value):
    """What a schedule shows of itself."""

    name: str
    workflow: str
    cron: str
    zone: str
    missed: Missed
    overlap: Overlap
    state: Literal["on", "paused", "running"]
    next: datetime | None
    last: datetime | None
    problem: str | None
    fingerprint: str


def check(spec: Spec) -> None:
    """Raises `BadInput` for a time table or a time zone that is none."""
    try:
        ZoneInfo(spec.zone)
        next(CronSim(spec.cron, datetime(2000, 1, 1, tzinfo=UTC)))
    except (ZoneInfoNotFoundError, ValueError):
        raise BadInput(
            f"schedule {spec.name!r}: no time zone {spec.zone!r}; say Europe/Lisbon, say"
        ) from None
    except CronSimError as error:
        why = f"{error} in {spec.cron!r}: minute hour day month weekday, as in '30 3 * * MON-FRI'"
        raise BadInput(f"schedule {spec.name!r}: {why}") from None
    except StopIteration:
        raise BadInput(f"schedule {spec.name!r}: {spec.cron!r} never comes") from None


def task_of(name: str) -> str:
    """The id of the task that keeps the schedule."""
    return f"schedule/{name}"


# ---------------------------------------------------------------- times


def after(spec: Spec, moment: datetime) -> datetime:
    """The first time after that moment, in UTC."""
    return next(CronSim(spec.cron, moment.astimezone(ZoneInfo(spec.zone)))).astimezone(UTC)


def until(spec: Spec, moment: datetime, now: datetime) -> list[datetime]:
    """The times after `moment` up to now."""
    times = CronSim(spec.cron, moment.astimezone(ZoneInfo(spec.zone)))
    return list(takewhile(lambda time: time <= now, (time.astimezone(UTC) for time in times)))


def to_run(spec: Spec, due: datetime, now: datetime) -> list[datetime]:
    """Of the times from `due` up to now those that are run, by what the schedule says of missed ones."""
    if spec.missed == "all":
        times = [due]
        while len(times) < AT_ONCE_MAX and (time := after(spec, times[-1])) <= now:
            times.append(time)
        return times
    last = _last(spec, due, now)
    return [last] if spec.missed == "once" or now - last <= LATE else []


def _last(spec: Spec, due: datetime, now: datetime) -> datetime:
    for span in LOOK_BACK:
        if now - span <= due:
            break
        if times := until(spec, now - span, now):
            return times[-1]
    return [due, *until(spec, due, now)][-1]


# ---------------------------------------------------------------- the workflow


@tool(name="segue.clock", timeout_s=10)
async def clock() -> None:
    """Its outcome bears the time at which it came."""


@workflow(name=KEEPER)
async def keeper(task: Task, kept: Kept) -> None:
    """One run: until the schedule is told something, or a time has been run. Then it goes on anew."""
    spec = kept.schedule
    if spec is None or kept.paused or kept.due is None:
        await _rest(task, kept)
        return
    task.set_view(_view(spec, kept, "on"))
    told = asyncio.create_task(task.signal(TOLD, Told))
    asleep = asyncio.create_task(task.sleep_until(kept.due))
    await asyncio.wait((told, asleep), return_when=asyncio.FIRST_COMPLETED)
    if told.done():
        task.continue_as_new(_changed(kept, told.result()))
    kept = await _run_due(task, spec, kept, told)
    task.continue_as_new(_changed(kept, told.result()) if told.done() else kept)


async def _run_due(task: Task, spec: Spec, kept: Kept, told: asyncio.Task[Told]) -> Kept:
    """Run what is due, until the schedule is told something, and fix the next time."""
    assert kept.due is not None
    await task.tool(clock)
    passed = max(kept.due, task.now())
    for time in to_run(spec, kept.due, passed):
        kept = await _run(task, spec, kept, time)
        if spec.missed == "all":
            passed = time
        if told.done():
            break
    if spec.overlap == "skip" and spec.missed != "all":
        await task.tool(clock)
        passed = task.now()
    return kept.model_copy(update={"due": after(spec, passed)})


async def _rest(task: Task, kept: Kept) -> None:
    """Nothing is due: the schedule is new, or rests, or is no more."""
    if kept.schedule is not None and not kept.paused:
        await task.tool(clock)
        task.continue_as_new(kept.model_copy(update={"due": after(kept.schedule, task.now())}))
    task.set_view(_view(kept.schedule, kept, "paused") if kept.schedule else None)
    task.continue_as_new(_changed(kept, await task.signal(TOLD, Told)))


def _changed(kept: Kept, told: Told) -> Kept:
    """The time that is next is fixed anew, unless nothing changed. A time that was run is not run again."""
    if told.removed:
        return Kept(schedule=None, last=kept.last)
    changes: dict[str, Any] = {}
    if told.schedule is not None and told.schedule != kept.schedule:
        changes |= {"schedule": told.schedule, "due": None, "problem": None}
    if told.paused is not None and told.paused != kept.paused:
        changes |= {"paused": told.paused, "due": None}
    return kept.model_copy(update=changes)


async def _run(task: Task, spec: Spec, kept: Kept, time: datetime) -> Kept:
    """Start the task of that time; wait for its end, unless tasks may overlap. How it ends is its own."""
    known_as = f"{spec.name}/{time:%Y-%m-%dT%H:%M:%SZ}"
    try:
        if spec.overlap == "allow":
            task.start(spec.workflow, spec.input, id=known_as, version=spec.version)
        else:
            task.set_view(_view(spec, kept, "running"))
            await task.child(spec.workflow, spec.input, id=known_as, version=spec.version)
    except SegueError as error:
        return kept.model_copy(update={"last": time, "problem": f"{known_as}: {error}"})
    return kept.model_copy(update={"last": time, "problem": None})


def _view(spec: Spec, kept: Kept, state: Literal["on", "paused", "running"]) -> View:
    return View(
        name=spec.name,
        workflow=spec.workflow,
        cron=spec.cron,
        zone=spec.zone,
        missed=spec.missed,
        overlap=spec.overlap,
        state=state,
        next=kept.due,
        last=kept.last,
        problem=kept.problem,
        fingerprint=spec.fingerprint,
    )
