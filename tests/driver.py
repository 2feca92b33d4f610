"""The stages in memory (`testing.in_memory_pipeline`) as our own tests play them: in any order, twice.

Tools, checks and agents run for real; models answer by the functions that a test gives. Each run is in `ran`.
"""

import asyncio
import random
from collections.abc import Awaitable, Callable, Collection, Iterable
from typing import Any
from weakref import ref

import pytest

from segue.processors.app.app import App
from segue.processors.stages import conduct
from segue.processors.stages.attempt import CURRENT, attempt_of
from segue.processors.stages.outcome import Outcome
from segue.processors.stages.reply import Reply
from segue.processors.tasks import task_cache as live
from segue.processors.workflow.execution import WorkflowExecution
from segue.processors.workflow.parking import MEND
from segue.streams.calls.candidate_stats import Knowledge, Measured
from segue.streams.calls.context import AnyCall
from segue.streams.calls.token_stream import TokenPublisher
from segue.streams.executors import ModelExecutor, ToolExecutor
from segue.streams.testing.in_memory_calls import Effects
from segue.streams.testing.in_memory_pipeline import READS, START_MS, Memory, Stages
from segue.topics.flow import Decision, Headers, Publish, Received
from segue.topics.records import CallModel, Problem, Result, Status

__all__ = ["START_MS", "Driver", "Memory", "Model", "watched_executions"]

Model = Callable[[CallModel], Any]
"""Answers a call of a model route: a JSON value, a `Reply` with what it consumed, or an exception."""


class Answering(ModelExecutor):
    """`models` answers model routes by name; agents ask their own."""

    def __init__(self, app: App, models: dict[str, Model]) -> None:
        super().__init__(app)
        self._models = models

    async def __call__(self, call: CallModel, telling: TokenPublisher | None = None) -> Reply:
        """A model that says what it consumed answers with a `Reply` of its own."""
        if call.agent is not None:
            return await super().__call__(call, telling)
        CURRENT.set(attempt_of(call))
        answer, by = self._models[call.route](call), self.candidate(call)
        return answer._replace(candidate=by) if isinstance(answer, Reply) else Reply(answer, by)


class Driver(Stages):
    """`order` shuffles which stage acts next. Records of topics in `duplicated` are all published twice."""

    def __init__(
        self,
        app: App,
        models: dict[str, Model] | None = None,
        *,
        order: random.Random | None = None,
        duplicated: Collection[str] = (),
        knowledge: Knowledge | None = None,
        **options: Any,
    ) -> None:
        self.models = models or {}
        self.order = order
        self.duplicated = duplicated
        self.knowledge = knowledge or Measured()
        self.ran: list[str] = []
        super().__init__(app, **options)

    # ------------------------------------------------------------ what a test does

    def submit(self, workflow: str, value: Any = None, task: str = "t") -> None:
        self.produce("tasks", {"workflow": workflow, "input": value, "id": task})

    def redeliver(self, topic: str, offset: int) -> None:
        """The record at that offset once more, behind all that came since."""
        record = self.logs[topic][offset]
        self._append(topic, record.key, record.value, record.headers)

    def put(self, topic: str, key: bytes | None, value: bytes | None, headers: Headers = ()) -> None:
        """A record as another program writes it."""
        self._append(topic, key, value, headers)

    def run(self, until_ms: int | None = None) -> None:
        """Until nothing is left to do, or nothing before `until_ms`; time jumps to what is due next."""
        while True:
            while self.act():
                pass
            due_ms = self.due_ms()
            if due_ms is None or (until_ms is not None and due_ms > until_ms):
                self.now_ms = max(self.now_ms, until_ms or 0)
                return
            self.now_ms = max(self.now_ms, due_ms)

    def restart(self, app: App | None = None) -> None:
        super().restart(app)
        answering, tools = Answering(self.app, self.models), ToolExecutor(self.app)
        self._effects = Effects(self.app, answering, tools, _finish, self.knowledge, self._made, self.objects)

    # ------------------------------------------------------------ what a test looks at

    def result(self, task: str = "t") -> Result:
        """The task's result; there must be exactly one."""
        results: list[Result] = self.records("results", task)
        [result] = results
        return result

    def bug(self, task: str = "t") -> Problem:
        """What the task is parked by; its message without what to do about it."""
        status: Status
        [*_, status] = self.records("status", task)
        assert status.state == "parked"
        assert status.problem is not None
        return status.problem.model_copy(update={"message": status.problem.message.removesuffix(f": {MEND}")})

    def written(self, *but: str) -> dict[str, list[tuple[bytes | None, bytes | None]]]:
        """Key and value of all records, by topic; of all topics but those."""
        return {
            topic: [(record.key, record.value) for record in log]
            for topic, log in self.logs.items()
            if topic not in but
        }

    # ------------------------------------------------------------ acts

    def _order(self) -> Iterable[str]:
        stages = list(READS)
        if self.order:
            self.order.shuffle(stages)
        return stages

    def _publish(self, publish: Publish) -> None:
        for _ in range(2 if publish.topic in self.duplicated else 1):
            super()._publish(publish)

    def _effect(self, record: Received) -> Decision:
        return self._effects.decide(record, self.now_ms)

    def _made(self, call: AnyCall, by: str) -> None:
        self.ran.append(f"{call.idempotency_key}/{call.attempt} {by}")


def _finish(run: Callable[[], Awaitable[Outcome]]) -> Outcome:
    async def wait() -> Outcome:
        return await run()

    return asyncio.run(wait())


def watched_executions(monkeypatch: pytest.MonkeyPatch) -> list[ref[WorkflowExecution]]:
    """Every execution that is made from now on, as long as something holds it."""
    played: list[ref[WorkflowExecution]] = []

    class Watched(WorkflowExecution):
        def __init__(self, *args: Any, **options: Any) -> None:
            super().__init__(*args, **options)
            played.append(ref(self))

    monkeypatch.setattr(conduct, "WorkflowExecution", Watched)
    monkeypatch.setattr(live, "WorkflowExecution", Watched)
    return played
