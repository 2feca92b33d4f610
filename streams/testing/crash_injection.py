"""Run a scenario repeatedly, with a crash at a different act each time: its outcome must stay the same."""

from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from typing import Any

from pydantic_core import to_json

from segue.processors.app.app import App
from segue.processors.formatting import preview
from segue.streams.testing.environment import Rehearsal
from segue.streams.testing.time_skipping import Call
from segue.topics.errors import NotDurable
from segue.topics.records import ENDED, Status

Scenario = Callable[[Rehearsal], object]

Whole = dict[str, str]
"""The facts that no crash may change: each task's outcome or state, and each call with its arguments and
key."""


def crash_everywhere(
    scenario: Scenario,
    app: App,
    *,
    models: Mapping[str, Any] | None = None,
    tools: Mapping[str, Any] | None = None,
    begins: datetime | None = None,
    acts: Iterable[int] | None = None,
) -> int:
    """Play `scenario` with a crash in each act, exactly once and at least once. Returns how many there were.

    At least once, all that the act published is there already, and is published again. Raises `NotDurable` if
    a task comes to something else than undisturbed, or if other calls are made; an error of the scenario says
    in which act it was. `acts` are those to crash in, instead of all.
    """
    options: dict[str, Any] = {"models": models, "tools": tools, "begins": begins}
    with Rehearsal(app, **options) as play:
        scenario(play)
        whole, number = _whole(play), play.acts
    chosen = range(number) if acts is None else list(acts)
    for act in chosen:
        for exactly_once in (True, False):
            crashing = Rehearsal(app, **options, forgets=False, crash_in=act, exactly_once=exactly_once)
            _crashed(scenario, crashing, whole, f"act {act} of {number}, {_guarantee(exactly_once)}")
    return 2 * len(chosen)


def _crashed(scenario: Scenario, play: Rehearsal, whole: Whole, where: str) -> None:
    try:
        with play:
            scenario(play)
            differs = _difference(whole, _whole(play))
    except Exception as error:
        error.add_note(f"with a crash in {where}")
        raise
    if differs is not None:
        raise NotDurable(f"with a crash in {where}: {differs}")


def _whole(play: Rehearsal) -> Whole:
    play.run()
    ends = {f"task {status.task!r}": _end(play, status) for status in play.tasks()}
    return ends | {_name(call): preview(call.given) or "nothing" for call in play.calls()}


def _name(call: Call) -> str:
    return f"the call of {call.candidate!r} with key {call.idempotency_key!r}, attempt {call.attempt},"


def _end(play: Rehearsal, status: Status) -> str:
    if status.state not in ENDED:
        return status.state
    result = play.ended(status.task)
    said = result.problem.message if result.problem is not None else to_json(result.result).decode()
    return f"{result.outcome}: {said}"


def _difference(was: Whole, now: Whole) -> str | None:
    for name in was | now:
        if was.get(name) != now.get(name):
            return f"{name} came to {now.get(name)}, and undisturbed to {was.get(name)}"
    return None


def _guarantee(exactly_once: bool) -> str:
    return "exactly once" if exactly_once else "at least once"
