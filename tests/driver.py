"""All stages in memory: pipes records through them, advances a clock, crashes between any two records.

The driver keeps what Kafka would: a log for each topic, each stage's committed offset and state. One act is
one stage handling one record, or doing what is due. A stage's memory is dropped at a crash and built anew
from what was committed. Under `exactly_once` a decision's records, state and offset are committed together or
not at all; under `at_least_once` a crash may leave some of its records behind. Tools, checks and models run
for real, by the functions that the app and the test give; each run is in `ran`.
"""

import asyncio
import random
from collections import defaultdict
from collections.abc import Awaitable, Callable, Collection, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, TypeVar
from weakref import ref

import pytest
from pydantic_core import to_json

from processors import conduct, live
from processors.app import App
from processors.attempt import CURRENT, attempt_of
from processors.check import accepted, refused, to_judge
from processors.conduct import Conduct
from processors.delay import Delays
from processors.intake import Intake
from processors.limits import LIMITS, Limits
from processors.parking import MEND
from processors.performance import Performance
from processors.recover import Recover
from processors.reply import Reply
from processors.routes import Tool
from processors.tool import failed, replied
from streams.choosing import Choosing
from streams.executors.check import CheckExecutor
from streams.measured import Knowledge, Measured
from streams.prices import Prices
from streams.problems import OutputRefused, problem_of
from topics import codec
from topics.contracts import BY_NAME
from topics.errors import Refused
from topics.flow import Decision, Headers, Publish, Received, Stage, Write
from topics.records import CallModel, CallTool, CheckOutput, Problem, Record, Result, Status

T = TypeVar("T")

Model = Callable[[CallModel], Any]
"""Answers a call of a model route: a JSON value, a `Reply` with what it consumed, or an exception."""

START_MS = 1_790_000_000_000

READS = {
    "intake": ("tasks", "signals"),
    "conduct": ("events",),
    "model": ("model-calls",),
    "tool": ("tool-calls",),
    "check": ("checks",),
    "recover": ("failures",),
    "delay": ("delays",),
}


class Crash(Exception):
    """The process died here."""


@dataclass
class Memory:
    """A stage's state on its one partition, as `topics.flow.State`."""

    entries: dict[bytes, bytes] = field(default_factory=dict[bytes, bytes])

    def get(self, key: bytes) -> bytes | None:
        return self.entries.get(key)

    def scan(self, prefix: bytes, start: bytes = b"") -> Iterator[tuple[bytes, bytes]]:
        return iter(sorted((k, v) for k, v in self.entries.items() if k.startswith(prefix) and k >= start))

    def apply(self, writes: Iterable[Write]) -> None:
        for key, value in writes:
            if value is None:
                self.entries.pop(key, None)
            else:
                self.entries[key] = value


class Driver:
    """Seven stages, one partition each.

    `models` answers model routes by name. `crashes` are acts (counted from 0) to crash in, with how many of
    the act's records were published before (none under `exactly_once`). `order` shuffles which stage acts
    next. Records of the topics in `duplicated` are all published twice.
    """

    def __init__(
        self,
        app: App,
        models: dict[str, Model] | None = None,
        *,
        crashes: dict[int, int] | None = None,
        exactly_once: bool = True,
        order: random.Random | None = None,
        duplicated: Collection[str] = (),
        limits: Limits = LIMITS,
        knowledge: Knowledge | None = None,
    ) -> None:
        self.app = app
        self.models = models or {}
        self.crashes = crashes or {}
        self.exactly_once = exactly_once
        self.order = order
        self.duplicated = duplicated
        self.limits = limits
        self.knowledge = knowledge or Measured()
        self.now_ms = START_MS
        self.acts: list[Decision] = []
        self.ran: list[str] = []
        self.logs: dict[str, list[Received]] = {name: [] for name in BY_NAME}
        self.offsets: dict[str, int] = defaultdict(int)
        self.state: dict[str, Memory] = defaultdict(Memory)
        self._conduct = Conduct(app, self.state["conduct"], random.Random, limits)
        self.restart()

    # ------------------------------------------------------------ what a test does

    def submit(self, workflow: str, value: Any = None, task: str = "t") -> None:
        self.produce("tasks", {"workflow": workflow, "input": value, "id": task})

    def produce(self, topic: str, value: Any, key: str | None = "t", headers: Headers = ()) -> None:
        """A record from outside: bytes as they are, anything else as JSON."""
        body = value if isinstance(value, bytes) else to_json(value)
        self._append(topic, key.encode() if key is not None else None, body, headers)

    def redeliver(self, topic: str, offset: int) -> None:
        """The record at that offset once more, behind all that came since."""
        record = self.logs[topic][offset]
        self._append(topic, record.key, record.value, record.headers)

    def run(self, until_ms: int | None = None) -> None:
        """Until nothing is left to do, or nothing before `until_ms`; time jumps to what is due next."""
        while True:
            while self.act():
                pass
            due_ms = self._stages["delay"].due_ms()
            if due_ms is None or (until_ms is not None and due_ms > until_ms):
                self.now_ms = max(self.now_ms, until_ms or 0)
                return
            self.now_ms = max(self.now_ms, due_ms)

    def act(self) -> bool:
        """One act of one stage, which may be its last before a crash. False if there is nothing to do now."""
        stages = list(READS)
        if self.order:
            self.order.shuffle(stages)
        try:
            return any(self._tick(stage) or self._handle(stage) for stage in stages)
        except Crash:
            self.restart()
            return True

    def restart(self, app: App | None = None) -> None:
        """All stages anew from what was committed, with other code if given."""
        self.app = app or self.app
        self._choosing = Choosing(self.app, self.knowledge)
        self._conduct.close()
        self._conduct = Conduct(self.app, self.state["conduct"], random.Random, self.limits)
        self._stages: dict[str, Stage] = {
            "intake": Intake(self.app, self.limits),
            "conduct": self._conduct,
            "recover": Recover(self.app),
            "delay": Delays(self.state["delay"]),
        }

    # ------------------------------------------------------------ what a test looks at

    def records(self, topic: str, task: str | None = None) -> list[Any]:
        records = [codec.decode(topic, r.value) for r in self.logs[topic] if r.value is not None]
        return [record for record in records if task is None or record.task == task]

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

    def reasons(self) -> list[str]:
        """Why each dead letter is one."""
        return [dict(record.headers)["segue-reason"].decode() for record in self.logs["dead-letters"]]

    def written(self, *but: str) -> dict[str, list[tuple[bytes | None, bytes | None]]]:
        """Key and value of all records, by topic; of all topics but those."""
        return {
            topic: [(record.key, record.value) for record in log]
            for topic, log in self.logs.items()
            if topic not in but
        }

    # ------------------------------------------------------------ acts

    def _tick(self, name: str) -> bool:
        stage = self._stages.get(name)
        due_ms = stage.due_ms() if stage else None
        if stage is None or due_ms is None or due_ms > self.now_ms:
            return False
        self._commit(name, stage.tick(self.now_ms))
        return True

    def _handle(self, name: str) -> bool:
        for topic in READS[name]:
            offset = self.offsets[topic]
            if offset < len(self.logs[topic]):
                record = self.logs[topic][offset]
                stage = self._stages.get(name)
                decision = stage.handle(record, self.now_ms) if stage else self._effect(record)
                self._commit(name, decision, topic)
                return True
        return False

    def _commit(self, name: str, decision: Decision, topic: str | None = None) -> None:
        number = len(self.acts)
        self.acts.append(decision)
        if number in self.crashes:
            left_behind = 0 if self.exactly_once else self.crashes[number]
            for publish in decision.publish[:left_behind]:
                self._publish(publish)
            raise Crash
        for publish in decision.publish:
            self._publish(publish)
        self.state[name].apply(decision.write)
        if topic:
            self.offsets[topic] += 1

    def _publish(self, publish: Publish) -> None:
        value = codec.encode(publish.value) if isinstance(publish.value, Record) else publish.value
        for _ in range(2 if publish.topic in self.duplicated else 1):
            self._append(publish.topic, publish.key.encode(), value, publish.headers)

    def _append(self, topic: str, key: bytes | None, value: bytes | None, headers: Headers) -> None:
        log = self.logs[topic]
        log.append(Received(topic, 0, len(log), key, value, headers, self.now_ms))

    # ------------------------------------------------------------ effects

    def _effect(self, record: Received) -> Decision:
        call = codec.decode(record.topic, record.value)
        if isinstance(call, CheckOutput):
            return self._check(call)
        return self._call(call, record)

    def _call(self, call: CallModel | CallTool, received: Received) -> Decision:
        if self._choosing.is_due(call):
            return asyncio.run(self._choosing.choose(call, received))
        by = call.agent.name if call.agent else self.app.routes[call.route].names[call.candidate]
        self.ran.append(f"{call.idempotency_key}/{call.attempt} {by}")
        serving = CURRENT.set(attempt_of(call))
        try:
            reply = self._answer(call, by)
        except OutputRefused as error:
            return failed(call, by, problem_of(error), 0.0, self.now_ms, error.critique, error.usage)
        except Exception as error:  # noqa: BLE001 - whatever a tool raises has failed its attempt
            return failed(call, by, problem_of(error), 0.0, self.now_ms)
        finally:
            CURRENT.reset(serving)
        return replied(call, reply, 0.0, self.now_ms)

    def _answer(self, call: CallModel | CallTool, by: str) -> Reply:
        """A model that says what it consumed answers with a `Reply` of its own."""
        if call.agent is not None:
            return _finish(_of_agent(self.app, call, by))
        answer = self.models[call.route](call) if isinstance(call, CallModel) else self._tool(call)
        return answer._replace(by=by) if isinstance(answer, Reply) else Reply(answer, by)

    def _tool(self, call: CallTool) -> Any:
        candidate = self.app.tool_route(call.route).candidates[call.candidate]
        assert isinstance(candidate, Tool)
        given = {name: candidate.parameters[name].validate_python(v) for name, v in call.arguments.items()}
        return candidate.output.dump_python(_finish(candidate.function(**given)), mode="json")

    def _check(self, record: CheckOutput) -> Decision:
        try:
            place = _finish(CheckExecutor(self.app)(record))
        except Refused as reason:
            return refused(record, str(reason), self.now_ms)
        return accepted(record, self.now_ms) if place is None else to_judge(record, place, self.now_ms)


async def _of_agent(app: App, call: CallModel | CallTool, by: str) -> Reply:
    """Loaded only where there are agents."""
    from streams.executors.agent import perform, request

    if isinstance(call, CallTool):
        return Reply(await perform(app, call), by)
    return await request(app, call, by, Prices(app.prices))


def _finish(running: Awaitable[T]) -> T:
    async def wait() -> T:
        return await running

    return asyncio.run(wait())


def watched_performances(monkeypatch: pytest.MonkeyPatch) -> list[ref[Performance]]:
    """Every performance that is made from now on, as long as something holds it."""
    played: list[ref[Performance]] = []

    class Watched(Performance):
        def __init__(self, *args: Any, **options: Any) -> None:
            super().__init__(*args, **options)
            played.append(ref(self))

    monkeypatch.setattr(conduct, "Performance", Watched)
    monkeypatch.setattr(live, "Performance", Watched)
    return played
