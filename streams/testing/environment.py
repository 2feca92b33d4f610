"""A rehearsal: an app's tasks played in memory, without Kafka, for the tests of whoever wrote the app.

What is given to it (`start`, `answer`, …) is refused as the product refuses it. What is looked at (`result`,
`question`) is first played up to: until nothing is left to do but to wait for somebody. The clock is the
tasks' own. It leaps to what is due next, and stands while a task waits for a person or a signal: then only
`advance` lets time pass, and with it time-outs.

Calls run in an event loop of a thread of their own, so a rehearsal can be held in any test, async or not. The
workflows' coroutines run in the caller's thread, where a debugger stops.
"""

import sys
import tempfile
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, ExitStack
from datetime import UTC, datetime, timedelta
from types import TracebackType
from typing import Any, NamedTuple, Self

from anyio.from_thread import BlockingPortal, start_blocking_portal
from pydantic import ValidationError

from segue.processors.app.app import App
from segue.processors.definitions.workflow import Workflow
from segue.processors.durations import EPOCH, rounded_up_ms
from segue.processors.payloads.blob import is_value
from segue.processors.payloads.values import jsonable, values_of
from segue.streams.client.answers import check_answer, picked, question_for
from segue.streams.client.dead_letters import document, reason_of, was_told
from segue.streams.object_store.store import Objects
from segue.streams.process.user_code import WorkerLoop
from segue.streams.settings import Settings
from segue.streams.testing.fakes import StandIns
from segue.streams.testing.in_memory_pipeline import START_MS
from segue.streams.testing.replay_in_subprocess import replay_elsewhere
from segue.streams.testing.time_skipping import Call, Played
from segue.topics import codec
from segue.topics.errors import BadInput, NoResult, TaskFailed, UnknownName
from segue.topics.flow import Received
from segue.topics.parts import ABSENT, Budget
from segue.topics.records import (
    Answer,
    Cancel,
    Problem,
    Question,
    Record,
    Result,
    Signal,
    Status,
    TaskRequest,
)

LEAPS_MAX = 1_000
"""Of the clock, from one thing that somebody did to the next: a task that goes on longer never stops."""


class DeadLetter(NamedTuple):
    """What could not be processed: the reason, the topic it stood on, and its text."""

    reason: str
    topic: str
    value: str


def _portal() -> AbstractContextManager[BlockingPortal]:
    """A loop that runs on where a task that a tool has started exits."""
    return start_blocking_portal(name="segue-rehearsal", backend_options={"loop_factory": WorkerLoop})


class Rehearsal:
    """`with Rehearsal(app, models={"rank": RANKING}, tools={"book": BOOKING}) as play:`.

    `models` and `tools` say what answers in their places, by the name of a route or of one of its candidates:
    a value, a function, an exception, `in_turn(…)` of these, or a Pydantic AI `Model`. Where nothing does, a
    function of the app runs for real, and so does a model that the app has as an object; whatever would reach
    out of the process is refused.

    Unless `forgets` is False, each event is decided twice, by the workflow's coroutine and by one that is
    made anew from the task's journal: where they differ, `NotDurable` is raised. `begins` is when. In the act
    `crash_in`, counted from 0, the process dies: see `crash_everywhere`.
    """

    def __init__(
        self,
        app: App,
        *,
        models: Mapping[str, Any] | None = None,
        tools: Mapping[str, Any] | None = None,
        forgets: bool = True,
        begins: datetime | None = None,
        crash_in: int | None = None,
        exactly_once: bool = True,
    ) -> None:
        self._app = app
        self._stand_ins = StandIns(app, models or {}, tools or {})
        crashes = {} if crash_in is None else {crash_in: sys.maxsize}
        self._options: dict[str, Any] = {"crashes": crashes, "exactly_once": exactly_once, "forgets": forgets}
        self._options["now_ms"] = START_MS if begins is None else _ms(begins)
        self._opened = ExitStack()
        self._played: Played | None = None
        self._started: list[str] = []

    def __enter__(self) -> Self:
        with ExitStack() as opening:
            portal = opening.enter_context(_portal())
            folder = opening.enter_context(tempfile.TemporaryDirectory(prefix="segue-rehearsal-"))
            objects = Objects(Settings.model_construct(object_store_url=folder))  # nothing of the environment
            played = Played(self._app, self._stand_ins, portal, objects, **self._options)
            opening.callback(played.close)
            self._played, self._opened = played, opening.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._played = None
        self._opened.close()

    # ------------------------------------------------------------ what happens to it

    def start(
        self,
        workflow: str | Workflow[Any, Any],
        input: Any = ABSENT,  # noqa: A002
        id: str | None = None,  # noqa: A002
        version: int | None = None,
        *,
        tenant: str | None = None,
        budget: Budget | None = None,
    ) -> str:
        """Ask for a task and return its id. Raises `BadInput` if it is rejected."""
        name = workflow if isinstance(workflow, str) else workflow.name
        version = version if isinstance(workflow, str) else version or workflow.version
        task = id if id is not None else f"{name}-{len(self._started) + 1}"
        asked: dict[str, Any] = {"id": task, "workflow": name, "version": version}
        asked |= {"tenant": tenant, "budget": budget}
        if input is not ABSENT:
            asked["input"] = input if isinstance(workflow, str) else workflow.given(input)
            asked["input"] = jsonable(asked["input"])
        self._give("tasks", TaskRequest, asked, task)
        self._started.append(task)
        return task

    def answer(self, value: Any, task: str | None = None, step: int | None = None) -> None:
        """Answer an open question: by an option's number (an int, from 1) or label, or by the value.

        Raises `BadInput` for what the question does not allow, and for an int that is one option's number and
        another answer too. `step` may be left out while there is one.
        """
        self.run()
        task = self._the(task)
        question = question_for(self.status(task), step)
        given = picked(question, value)
        check_answer(question, given)
        self._give("signals", Answer, {"task": task, "step": question.step, "value": given}, task)

    def signal(self, name: str, value: Any = None, task: str | None = None) -> None:
        """Tell a task of an outside event. Raises `BadInput` if it waits for another type, or has ended."""
        task = self._the(task)
        self._give("signals", Signal, {"task": task, "name": name, "value": jsonable(value)}, task)

    def cancel(
        self, task: str | None = None, reason: str = "cancelled on request", *, force: bool = False
    ) -> None:
        task = self._the(task)
        self._give("signals", Cancel, {"task": task, "reason": reason, "force": force}, task)

    def run(self) -> None:
        """Until nothing is left to do but to wait for somebody."""
        self._play(lambda: False)

    def advance(self, how_long: timedelta) -> None:
        """Let so much time pass, with all that is due in it."""
        stages = self._stages
        until_ms = stages.now_ms + rounded_up_ms(how_long)
        while stages.act_all() or stages.leap(until_ms):
            pass
        stages.now_ms = max(stages.now_ms, until_ms)
        stages.act_all()

    def restart(self, app: App | None = None) -> None:
        """The process dies and begins anew, with other code if given: what becomes of tasks that are open?"""
        self._stand_ins.ensure_known(app or self._app)
        self._stages.restart(app)

    def replay_elsewhere(self) -> None:
        """Play all logs again in another process, in which sets have another order. Takes a second or two.

        The app must stand in a module. Raises `NotDurable` where a task asks for something else there.
        """
        self.run()
        stages = self._stages
        records = [*stages.logs["events"], *stages.logs["results"]]
        logs = {task: [r for r in records if r.key == task.encode()] for task in stages.statuses}
        replay_elsewhere(stages.app, logs)

    # ------------------------------------------------------------ what is there to see

    @property
    def acts(self) -> int:
        """How often a stage has acted: each time is one that a process may die in."""
        return len(self._stages.acts)

    @property
    def now(self) -> datetime:
        return datetime.fromtimestamp(self._stages.now_ms / 1000, UTC)

    def result(self, task: str | None = None) -> Any:
        """What the task's workflow returned, as its type. Raises `NoResult` if it did not, saying why."""
        result = self.ended(task)
        if result.outcome != "succeeded":
            raise NoResult(_ended_otherwise(result, self._stages.reasons()))
        status = self.status(result.task)
        output = values_of(self._stages.app.workflow(status.workflow, status.version).output)
        if not is_value(result.result):
            return output.read(result.result)
        return output.read_data(self._stages.loaded(result))

    def ended(self, task: str | None = None) -> Result:
        """How the task ended, whatever that was. Raises `NoResult` if it did not."""
        task = self._the(task)
        self._play(lambda: self._result(task) is not None)
        result = self._result(task)
        if result is None:
            raise NoResult(_why_no_result(self.status(task), self._stages.reasons()))
        return result

    def question(self, task: str | None = None) -> Question:
        """The one open question of a task. Raises `BadInput` if there is not one; `NoResult` at a bug."""
        self.run()
        status = self.status(task)
        if status.problem is not None:
            raise NoResult(_why_no_result(status, self._stages.reasons()))
        return question_for(status, None)

    def questions(self) -> list[Question]:
        """Those that are open, of all tasks."""
        self.run()
        return [question for status in self.tasks() for question in status.questions]

    def status(self, task: str | None = None) -> Status:
        """Where the task stands, and what it shows."""
        task, statuses = self._the(task), self._stages.statuses
        if task not in statuses:
            raise UnknownName(f"there is no task {task!r}: choose one of {', '.join(statuses) or 'none'}")
        return statuses[task]

    def tasks(self) -> list[Status]:
        """Where each task stands, children among them."""
        return list(self._stages.statuses.values())

    def calls(self, name: str | None = None, task: str | None = None) -> list[Call]:
        """Those that were made, in order; of a route or candidate and of a task, where they are named."""
        made = self._stages.made
        return [c for c in made if name in (None, c.name, c.candidate) and task in (None, c.task)]

    def dead_letters(self) -> list[DeadLetter]:
        return [_letter(record) for record in self._stages.logs["dead-letters"]]

    # ------------------------------------------------------------ how

    @property
    def _stages(self) -> Played:
        if self._played is None:
            raise BadInput("the rehearsal is not open: use it within `with Rehearsal(…) as play:`")
        if self._app.agents:
            from segue.processors.agents.durable import ensure_not_overridden

            ensure_not_overridden(self._app.agents)
        return self._played

    def _the(self, task: str | None) -> str:
        if task is not None:
            return task
        started = list(dict.fromkeys(self._started))  # the same id may be given twice
        if len(started) != 1:
            there = ", ".join(started) or "none"
            raise BadInput(f"which task? Name it; those that were started: {there}")
        return started[0]

    def _give(self, topic: str, kind: type[Record], fields: dict[str, Any], task: str) -> None:
        """What is refused at once was never given. A copy that a crash left behind may come too late."""
        stages = self._stages
        codec.json_of(fields)
        try:
            record = kind(**fields)
        except ValidationError as error:
            raise BadInput(codec.describe(error)) from None
        before = len(stages.logs["dead-letters"])
        stages.produce(topic, record, key=task)
        stages.hear()
        letters = [each for each in stages.logs["dead-letters"][before:] if not was_told(each)]
        if stages.exactly_once and letters:
            raise BadInput(reason_of(letters[0]))

    def _play(self, done: Callable[[], bool]) -> None:
        stages = self._stages
        for _ in range(LEAPS_MAX):
            while not done() and stages.act():
                pass
            if done() or not stages.leap_by_itself():
                return
        raise BadInput(
            f"the workflow does not end, and the time is {self.now:%Y-%m-%d} now: use "
            "play.advance(…) to move it"
        )

    def _result(self, task: str) -> Result | None:
        results = self._stages.records("results", task)
        return results[-1] if results else None


def _ms(when: datetime) -> int:
    if when.tzinfo is None:
        raise BadInput(f"begins={when.isoformat()} has no time zone: give it one")
    return rounded_up_ms(when - EPOCH)


def _letter(record: Received) -> DeadLetter:
    told = document(record)
    return DeadLetter(told["reason"], told["topic"], told["value"])


def _ended_otherwise(result: Result, letters: list[str]) -> str:
    return f"{TaskFailed(result)}{_with(letters)}{_where(result.problem)}"


def _why_no_result(status: Status, letters: list[str]) -> str:
    task = f"task {status.task!r}"
    if status.problem is not None:
        why = f"{status.state}: {status.problem.message}"
        return f"{task} is {why}{_with(letters)}{_where(status.problem)}"
    if status.questions:
        asked = "; ".join(f"{question.text!r} to {question.to!r}" for question in status.questions)
        return f"{task} waits for an answer, play.answer(…): {asked}{_with(letters)}"
    what = "a signal, play.signal(…), or time, play.advance(…)"
    return f"{task} is {status.state}, and waits for what does not come by itself: {what}{_with(letters)}"


def _where(problem: Problem | None) -> str:
    return f"\n{problem.traceback}" if problem is not None and problem.traceback else ""


def _with(letters: list[str]) -> str:
    return f" (dead letters: {'; '.join(letters)})" if letters else ""
