"""The stages of a rehearsal: whose calls are made by stand-ins or for real, and when its clock leaps."""

from collections.abc import Awaitable, Callable
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

from anyio.from_thread import BlockingPortal

from segue.processors.app.app import App
from segue.processors.payloads.blob import whole
from segue.processors.stages.outcome import Outcome
from segue.streams.calls.candidate_stats import Measured
from segue.streams.object_store.store import Objects
from segue.streams.testing.fake_executors import RehearsedModels, RehearsedTools
from segue.streams.testing.fakes import AnyCall, StandIns
from segue.streams.testing.in_memory_calls import Effects
from segue.streams.testing.in_memory_pipeline import Stages
from segue.topics.flow import Decision, Publish, Received
from segue.topics.records import ENDED, CallModel, Delay, Result, Status, TimerFired


@dataclass(frozen=True, slots=True)
class Call:
    """A call that was made: of the route `name`, by its `candidate`.

    `given` are a tool's arguments by their names, or a model's prompt, as JSON. Each attempt is a call; all
    attempts of a step have its `idempotency_key`.
    """

    task: str
    step: int
    name: str
    candidate: str
    given: Any
    attempt: int
    idempotency_key: str


class Played(Stages):
    """Calls are made in the portal's event loop, and noted in `made`."""

    def __init__(
        self, app: App, stand_ins: StandIns, portal: BlockingPortal, objects: Objects, **options: Any
    ) -> None:
        self.made: list[Call] = []
        self.statuses: dict[str, Status] = {}
        """The last of each task."""
        self._retries_ms = set[int]()
        self._stand_ins = stand_ins
        self._portal = portal
        self._serving = ExitStack()
        super().__init__(app, objects=objects, **options)

    def restart(self, app: App | None = None) -> None:
        super().restart(app)
        self._serving.close()
        self._effects = self._opened()

    def close(self) -> None:
        self._conduct.close()
        self._serving.close()

    def _opened(self) -> Effects:
        models, tools = RehearsedModels(self.app, self._stand_ins), RehearsedTools(self.app, self._stand_ins)
        self._serving.callback(self._portal.call, models.stop)
        if self.app.agents:
            from segue.streams.testing.fake_models import agents_stand_in

            self._serving.enter_context(agents_stand_in(self.app, self._stand_ins))
        return Effects(self.app, models, tools, self._in_a_loop, Measured(), self._note, self.objects)

    def _in_a_loop(self, run: Callable[[], Awaitable[Outcome]]) -> Outcome:
        return self._portal.call(run)

    def loaded(self, result: Result) -> Any:
        """A result that is in the object store."""
        assert self.objects is not None
        return self._portal.call(whole, result.result, self.objects.of_task(result.task, result.tenant))

    def _note(self, call: AnyCall, by: str) -> None:
        self._stand_ins.serve(call, by)
        given = call.prompt if isinstance(call, CallModel) else call.arguments
        self.made.append(
            Call(call.task, call.step, call.route, by, given, call.attempt, call.idempotency_key)
        )

    def _effect(self, record: Received) -> Decision:
        decision = self._effects.decide(record, self.now_ms)
        if self._stand_ins.fault is not None:
            raise self._stand_ins.fault
        return decision

    # ------------------------------------------------------------ time

    def act_all(self) -> bool:
        acted = False
        while self.act():
            acted = True
        return acted

    def leap(self, until_ms: int) -> bool:
        """To what is due next, if that is not later."""
        due_ms = self.due_ms()
        if due_ms is None or due_ms > until_ms:
            return False
        self.now_ms = max(self.now_ms, due_ms)
        return True

    def leap_by_itself(self) -> bool:
        """To what is due next, if a task goes on then by itself."""
        due_ms = self.due_ms()
        return due_ms is not None and self._goes_on(due_ms) and self.leap(due_ms)

    def _goes_on(self, due_ms: int) -> bool:
        """Retries come whoever is waited for; a timer then is a time-out, as far as anyone can tell."""
        if due_ms in self._retries_ms:
            return True
        open_tasks = [task for task, status in self.statuses.items() if status.state not in ENDED]
        return bool(open_tasks) and not any(
            self._conduct.awaits_somebody(task, self.now_ms) for task in open_tasks
        )

    def _publish(self, publish: Publish) -> None:
        super()._publish(publish)
        match publish.value:
            case Status() as status:
                self.statuses[status.task] = status
            case Delay(record=record, due_ms=due_ms) if not isinstance(record, TimerFired):
                self._retries_ms.add(due_ms)
            case _:
                pass
