"""Schedules: each is a task of a workflow that starts other tasks at the scheduled times.

    Schedule ─▶ the task `schedule/NAME` ─▶ sleeps until the next time ─▶ starts the task `NAME/TIME` ─▶ again

The schedule is a task like any other, so its timer is durable, and creating it twice gives one schedule. The
id of the task that it starts contains the scheduled time, so each time is run once, also if several callers
start it. The next time is decided when the previous one is done, and is part of the run's input: an update of
the time zone data changes later times, and no journal.

A timer fires late if no worker was running. The outcome of the step `clock` has the actual time.
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
"""A time that is run later than this counts as missed."""

AT_ONCE_MAX = 100
"""The most missed times that one run of the schedule starts when all missed times are run."""

LOOK_BACK = (timedelta(days=1), timedelta(days=32), timedelta(days=366 * 8))
"""How far back to search for the last past time, so that not all minutes of a year are counted."""


class Value(BaseModel):
    model_config = ConfigDict(frozen=True)


class Spec(Value):
    """The workflow to start and its times, as they are sent as JSON."""

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
    """Starts a workflow at given times: `Schedule("nightly", report, cron="0 3 * * *",
    zone="Europe/Lisbon")`.

    `cron` has five fields, or six with seconds first. When clocks are put forward, a run at a time of day
    that does not exist happens right after the change; when clocks are put back, a time of day that occurs
    twice is run once. `missed` decides about times at which no worker was running: only the last of them is
    run (`once`), none of them (`none`), or all of them (`all`). `overlap` decides about a time that comes
    while the task of the previous time is open: it is skipped (`skip`), its task starts when the previous
    task has ended (`wait`), or both tasks run (`allow`).
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
            raise BadInput(f"schedule {self.name!r}: its input can't be sent as JSON: {error}") from None

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
    """A change of a schedule: its new definition, or that it is paused, resumed or removed."""

    schedule: Spec | None = None
    paused: bool | None = None
    removed: bool = False


class Kept(Value):
    """The state that a schedule passes from run to run. A removed schedule has no `schedule`, and may get a
    new one.
    """

    schedule: Spec | None
    paused: bool = False
    due: datetime | None = None
    last: datetime | None = None
    problem: str | None = None


class View(Value):
    """The view of a schedule's task."""

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
    """Check the schedule. Raises `BadInput` for an invalid cron line or an unknown time zone."""
    try:
        ZoneInfo(spec.zone)
        next(CronSim(spec.cron, datetime(2000, 1, 1, tzinfo=UTC)))
    except (ZoneInfoNotFoundError, ValueError):
        raise BadInput(
            f"schedule {spec.name!r}: there is no time zone {spec.zone!r}: give a name such as Europe/Lisbon"
        ) from None
    except CronSimError as error:
        why = (
            f"{error} in {spec.cron!r}: a cron line is minute hour day month weekday, such as '30 3 * * "
            "MON-FRI'"
        )
        raise BadInput(f"schedule {spec.name!r}: {why}") from None
    except StopIteration:
        raise BadInput(
            f"schedule {spec.name!r}: {spec.cron!r} matches no time: change the cron line"
        ) from None


def task_of(name: str) -> str:
    """Return the id of the task that runs the schedule."""
    return f"schedule/{name}"


# ---------------------------------------------------------------- times


def after(spec: Spec, moment: datetime) -> datetime:
    """Return the first scheduled time after `moment`, in UTC."""
    return next(CronSim(spec.cron, moment.astimezone(ZoneInfo(spec.zone)))).astimezone(UTC)


def until(spec: Spec, moment: datetime, now: datetime) -> list[datetime]:
    """Yield the scheduled times after `moment` up to now."""
    times = CronSim(spec.cron, moment.astimezone(ZoneInfo(spec.zone)))
    return list(takewhile(lambda time: time <= now, (time.astimezone(UTC) for time in times)))


def to_run(spec: Spec, due: datetime, now: datetime) -> list[datetime]:
    """Return the times from `due` up to now that are run, by the schedule's rule for missed times."""
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
    """Return nothing: the time of its outcome is what the schedule needs."""


@workflow(name=KEEPER)
async def keeper(task: Task, kept: Kept) -> None:
    """One run of the schedule: it lasts until the schedule is changed, or a time has been run, and then
    continues as new."""
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
    """Run the times that are due until the schedule is changed, and decide the next time."""
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
    """Wait while nothing is due: the schedule is new, paused or removed."""
    if kept.schedule is not None and not kept.paused:
        await task.tool(clock)
        task.continue_as_new(kept.model_copy(update={"due": after(kept.schedule, task.now())}))
    task.set_view(_view(kept.schedule, kept, "paused") if kept.schedule else None)
    task.continue_as_new(_changed(kept, await task.signal(TOLD, Told)))


def _changed(kept: Kept, told: Told) -> Kept:
    """Decide the next time again, unless nothing changed. A time that was run is not run again."""
    if told.removed:
        return Kept(schedule=None, last=kept.last)
    changes: dict[str, Any] = {}
    if told.schedule is not None and told.schedule != kept.schedule:
        changes |= {"schedule": told.schedule, "due": None, "problem": None}
    if told.paused is not None and told.paused != kept.paused:
        changes |= {"paused": told.paused, "due": None}
    return kept.model_copy(update=changes)


async def _run(task: Task, spec: Spec, kept: Kept, time: datetime) -> Kept:
    """Start the task of that time, and wait for its end unless tasks may overlap. A failure of it does not
    affect the schedule."""
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
