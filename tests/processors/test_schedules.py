"""Schedules: the times of a time table, and that each is run once, whatever was missed or overlaps."""

from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any

import pytest
from pydantic_core import to_jsonable_python

from segue import App, BadInput, Permanent, Task, tool, workflow
from segue.processors.app.schedules import KEEPER, TOLD, Kept, Schedule, Spec, after, task_of, to_run, until
from segue.topics.records import Status, Submitted
from tests.driver import START_MS, Driver

HOUR_MS = 3_600_000

BEGINS_MS = START_MS - HOUR_MS
"""2026-09-21 13:13:20."""


@tool(retries=0)
async def refuse() -> None:
    raise Permanent("no")


@workflow
async def report(task: Task, name: str) -> str:
    return f"{name} at {task.now():%H:%M}"


@workflow
async def slow(task: Task, hours: float) -> None:
    await task.sleep(timedelta(hours=hours))


@workflow
async def fails(task: Task) -> None:
    await task.tool(refuse)


APP = App("schedules", workflows=[report, slow, fails], tools=[refuse])


def schedule(run: Any = report, given: Any = "sales", cron: str = "0 * * * *", **options: Any) -> Spec:
    return Schedule("hourly", run, cron=cron, input=given, **options).spec


def begun(spec: Spec, **options: Any) -> Driver:
    played = Driver(APP, **options)
    played.now_ms = BEGINS_MS
    played.submit(KEEPER, to_jsonable_python(Kept(schedule=spec)), task=task_of("hourly"))
    return played


def tell(played: Driver, id_: str, **told: Any) -> None:
    signal = {"kind": "signal", "task": task_of("hourly"), "name": TOLD, "id": id_, "value": told}
    played.produce("signals", signal, key=task_of("hourly"))


def pass_(played: Driver, hours: float) -> None:
    played.run(until_ms=played.now_ms + round(hours * HOUR_MS))


def started(played: Driver) -> list[str]:
    """The hours for which tasks were started, in that order."""
    tasks = [e.task for e in played.records("events") if isinstance(e, Submitted)]
    return [task.removeprefix("hourly/")[11:16] for task in tasks if task.startswith("hourly/")]


def view(played: Driver) -> dict[str, Any]:
    statuses: list[Status] = played.records("status", task_of("hourly"))
    return dict(statuses[-1].view)


# ---------------------------------------------------------------- times


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def test_times_are_those_of_the_time_zone() -> None:
    spec = schedule(cron="30 3 * * *", zone="Europe/Lisbon")
    assert after(spec, at("2026-07-01T00:00")) == at("2026-07-01T02:30")
    assert after(spec, at("2026-12-01T00:00")) == at("2026-12-01T03:30")


def test_a_time_that_does_not_exist_is_run_right_after() -> None:
    """On 2026-03-29 clocks in Berlin go from 02:00 to 03:00, which is 01:00 UTC."""
    spec = schedule(cron="30 2 * * *", zone="Europe/Berlin")
    times = until(spec, at("2026-03-28T00:00"), at("2026-03-30T12:00"))
    assert times == [at("2026-03-28T01:30"), at("2026-03-29T01:00"), at("2026-03-30T00:30")]


def test_a_time_that_is_there_twice_is_run_once() -> None:
    """On 2026-10-25 clocks in Berlin go back from 03:00 to 02:00."""
    spec = schedule(cron="30 2 * * *", zone="Europe/Berlin")
    times = until(spec, at("2026-10-24T12:00"), at("2026-10-26T12:00"))
    assert len(times) == 2
    assert {time.date().isoformat() for time in times} == {"2026-10-25", "2026-10-26"}


def test_every_hour_is_every_hour_whatever_clocks_do() -> None:
    spec = schedule(cron="0 * * * *", zone="Europe/Berlin")
    times = until(spec, at("2026-10-24T22:00"), at("2026-10-25T04:00"))
    assert [(later - time) for time, later in pairwise(times)] == [timedelta(hours=1)] * 5


@pytest.mark.parametrize(
    ("missed", "late", "hours"),
    [
        ("once", timedelta(hours=5), ["19:00"]),
        ("once", timedelta(0), ["14:00"]),
        ("skip", timedelta(hours=5), ["19:00"]),
        ("skip", timedelta(hours=5, minutes=2), []),
        ("all", timedelta(hours=2, minutes=30), ["14:00", "15:00", "16:00"]),
    ],
)
def test_of_missed_times_those_are_run_that_the_schedule_says(
    missed: Any, late: timedelta, hours: list[str]
) -> None:
    due = at("2026-09-21T14:00")
    times = to_run(schedule(missed=missed), due, due + late)
    assert [f"{time:%H:%M}" for time in times] == hours


def test_a_year_of_missed_minutes_is_soon_counted() -> None:
    due = at("2026-01-01T00:00")
    every = schedule(cron="* * * * *")
    assert to_run(every, due, due + timedelta(days=365)) == [due + timedelta(days=365)]
    assert len(to_run(every.model_copy(update={"missed": "all"}), due, due + timedelta(days=365))) == 100


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"cron": "61 * * * *"}, "Bad minute in '61 * * * *'"),
        ({"cron": "daily"}, "Wrong number of fields"),
        ({"zone": "Lisbon"}, "no time zone 'Lisbon'"),
        ({"zone": "../etc"}, "no time zone"),
    ],
)
def test_what_is_no_schedule_is_refused_where_it_is_declared(options: dict[str, str], said: str) -> None:
    with pytest.raises(BadInput, match=said.replace("*", r"\*")):
        schedule(**options)


# ---------------------------------------------------------------- running


def test_each_time_is_run_once() -> None:
    played = begun(schedule())
    pass_(played, 3)
    assert started(played) == ["14:00", "15:00", "16:00"]
    assert [r.result for r in played.records("results")] == [
        "sales at 14:00",
        "sales at 15:00",
        "sales at 16:00",
    ]
    assert view(played)["next"] == "2026-09-21T17:00:00Z"


def test_whoever_declares_it_again_changes_nothing() -> None:
    played = begun(schedule())
    for number in range(3):
        played.submit(KEEPER, to_jsonable_python(Kept(schedule=schedule())), task=task_of("hourly"))
        tell(played, f"again-{number}", schedule=schedule().model_dump())
        pass_(played, 1)
    assert started(played) == ["14:00", "15:00", "16:00"]


@pytest.mark.parametrize("exactly_once", [True, False])
def test_a_crash_at_any_point_runs_no_time_twice_and_leaves_none_out(exactly_once: bool) -> None:
    whole = begun(schedule())
    pass_(whole, 2)
    for point in range(len(whole.acts)):
        crashed = begun(schedule(), crashes={point: 1}, exactly_once=exactly_once)
        pass_(crashed, 2)
        assert sorted(set(started(crashed))) == ["14:00", "15:00"], point
        results = {r.value for r in crashed.logs["results"]}
        assert len(results) == 2, point


def test_its_state_does_not_grow() -> None:
    played = begun(schedule())
    pass_(played, 100)
    assert len(started(played)) == 100
    journal = [key for key in played.state["conduct"].entries if key.startswith(b"J")]
    assert len(journal) <= 2


@pytest.mark.parametrize(
    ("missed", "hours"),
    [
        ("once", ["18:00", "19:00"]),
        ("skip", ["19:00"]),
        ("all", ["14:00", "15:00", "16:00", "17:00", "18:00", "19:00"]),
    ],
)
def test_times_at_which_nobody_was_there(missed: Any, hours: list[str]) -> None:
    played = begun(schedule(missed=missed, overlap="allow"))
    pass_(played, 0.1)
    played.now_ms = BEGINS_MS + 5 * HOUR_MS
    pass_(played, 1)
    assert started(played) == hours


@pytest.mark.parametrize(
    ("overlap", "hours"),
    [
        ("skip", ["14:00", "17:00", "20:00"]),
        ("wait", ["14:00", "16:00", "19:00"]),
        ("allow", ["14:00", "15:00", "16:00", "17:00", "18:00", "19:00", "20:00"]),
    ],
)
def test_times_that_come_while_the_last_is_open(overlap: Any, hours: list[str]) -> None:
    played = begun(schedule(slow, 2.5, overlap=overlap))
    pass_(played, 7)
    assert started(played) == hours


def test_a_task_that_fails_does_not_stop_its_schedule_and_is_told() -> None:
    played = begun(schedule(fails, None))
    pass_(played, 2)
    assert started(played) == ["14:00", "15:00"]
    assert view(played)["problem"] == "hourly/2026-09-21T15:00:00Z: fails: refuse: no"


@pytest.mark.parametrize("missed", ["once", "all"])
def test_what_it_is_told_while_a_task_of_it_runs_is_not_lost(missed: Any) -> None:
    played = begun(schedule(slow, 2.5, overlap="wait", missed=missed))
    pass_(played, 2)
    tell(played, "1", paused=True)
    pass_(played, 5)
    assert (started(played), view(played)["state"]) == (["14:00"], "paused")


def test_a_schedule_that_makes_up_for_missed_times_listens_in_between() -> None:
    played = begun(schedule(slow, 2.5, overlap="wait", missed="all"))
    pass_(played, 0.1)
    played.now_ms = BEGINS_MS + 5 * HOUR_MS
    pass_(played, 1)
    tell(played, "1", paused=True)
    pass_(played, 10)
    assert (started(played), view(played)["state"]) == (["14:00"], "paused")


def test_it_rests_goes_on_changes_and_is_removed() -> None:
    played = begun(schedule())
    pass_(played, 1)
    tell(played, "1", paused=True)
    pass_(played, 2)
    assert (started(played), view(played)["state"]) == (["14:00"], "paused")
    tell(played, "2", paused=False)
    pass_(played, 1)
    assert started(played) == ["14:00", "17:00"]
    tell(played, "3", schedule=schedule(cron="30 * * * *").model_dump())
    pass_(played, 1)
    assert started(played) == ["14:00", "17:00", "17:30"]
    tell(played, "4", removed=True)
    pass_(played, 3)
    assert started(played) == ["14:00", "17:00", "17:30"]
    assert played.records("status", task_of("hourly"))[-1].view is None
    tell(played, "5", schedule=schedule().model_dump())
    pass_(played, 1)
    assert started(played) == ["14:00", "17:00", "17:30", "22:00"]
