"""Schedules from outside: declare, tell and list them. Each is a task: see `processors.app.schedules`."""

import logging

from segue.processors.app.app import App
from segue.processors.app.schedules import KEEPER, TOLD, Kept, Spec, Told, View, task_of
from segue.streams.client.client import Client
from segue.streams.settings import Settings
from segue.topics.errors import BadInput, SegueError, UnknownName
from segue.topics.records import ENDED, Status

log = logging.getLogger(__name__)


async def declare(app: App, settings: Settings) -> None:
    """The schedules that the app declares, as it declares them. What can't be is told in the log."""
    async with Client(settings) as client:
        for schedule in app.schedules.values():
            try:
                await add(client, schedule.spec)
            except (SegueError, TimeoutError) as error:
                log.error("schedule %s can't be declared: %s", schedule.name, error)


async def add(client: Client, spec: Spec) -> None:
    """Let there be that schedule. One that is there already is changed, unless it is the same."""
    try:
        status = await client.status(task_of(spec.name))
    except UnknownName:
        await client.start(KEEPER, Kept(schedule=spec), task_of(spec.name))
        return
    view = view_of(status)
    if view is None or view.fingerprint != spec.fingerprint:
        await tell(client, spec.name, Told(schedule=spec))


async def tell(client: Client, name: str, told: Told) -> None:
    """Raises `UnknownName` if there is no such schedule, `BadInput` if its task was ended."""
    try:
        status = await client.status(task_of(name))
    except UnknownName:
        raise UnknownName(f"there is no schedule {name!r}: `segue schedules` lists them") from None
    if status.state in ENDED:
        raise BadInput(
            f"the name {name!r} can't be used for a week, because the schedule's task was "
            "ended by hand: use another"
        )
    await client.signal(status.task, TOLD, told)


async def listed(client: Client) -> list[View]:
    """All schedules, by their names."""
    views = [view_of(status) async for status in client.each_status() if status.workflow == KEEPER]
    return sorted((view for view in views if view is not None), key=lambda view: view.name)


def view_of(status: Status) -> View | None:
    """What a schedule shows; None if it was removed, or has not begun."""
    if status.workflow != KEEPER or status.view is None or status.state in ENDED:
        return None
    return View.model_validate(status.view)
