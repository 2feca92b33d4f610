"""Plays one schedule with the real runners of the real stages, and says which claims broke.

Everything above aiokafka, RocksDB, the clock and the event loop is the product's own code: groups, runners,
commits, restoring, stages, executors. Those four are stood in for by what is next to this file, before any of
the product is imported (see `__main__`).
"""

import asyncio
import logging
import tempfile
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any, cast

from aiokafka.errors import KafkaError
from aiokafka.structs import TopicPartition

from segue.processors.app.app import App
from segue.processors.stages.reply import Reply
from segue.processors.tasks.resumption import Resumed
from segue.streams.calls.calls import CallPipeline, Calls, Job, attempt
from segue.streams.calls.steps import execute
from segue.streams.calls.token_stream import TokenPublisher
from segue.streams.engine import effect_runner, pure_runner, stages
from segue.streams.engine.effect_runner import EffectRunner, EffectStage
from segue.streams.engine.local_calls import PATIENCE_S, LocalCalls
from segue.streams.engine.pure_runner import PureRunner, PureStage
from segue.streams.engine.resumption import Resumes
from segue.streams.engine.stages import ALL_STAGES, STAGES, Resources
from segue.streams.engine.supervisor import BACKOFF_S_MAX, BACKOFF_S_MIN, STOP_S_MAX, Runner
from segue.streams.executors.check import CheckExecutor
from segue.streams.executors.tool import ToolExecutor
from segue.streams.object_store.claim_check import Owned, at_once
from segue.streams.object_store.store import Objects
from segue.streams.observability.metrics import Metrics
from segue.streams.settings import Settings
from segue.topics.errors import SegueError
from segue.topics.flow import Decision, Received, Stage, State
from segue.topics.records import CallModel, CallTool
from tests.corpus import APP, MODELS
from tests.pipelines import pipeline
from tests.simulation.broker import BROKER, Broker
from tests.simulation.claims import Broken, Claims
from tests.simulation.disk import Rdict
from tests.simulation.loop import Deadlock
from tests.simulation.schedule import Schedule
from tests.simulation.workload import PLAYED, Outside, is_right
from tests.simulation.world import PROCESS, Fault, Process, World

IDLE_POLL_MS = 3_600_000
"""Idle stages poll twice a second, from which nothing is learnt where it is known when something happens."""

PASSES_MAX = 20_000
"""After the last fault: ten times what the longest tasks need."""

ENDS_WITHIN_S = 6 * 3600
"""Of simulated time: the longest task waits for two hours."""

QUIET_S = 4_500
"""After the last result: the latest timer is due by then."""

LINGER_S = dict.fromkeys(pure_runner.LINGER_S, 0.05)
"""Long enough that much may happen meanwhile, for a single record too."""

CALL_S_MAX = 0.3
LONG_CALL_S_MAX = 20.0
LOCAL_CALL_S_MAX = PATIENCE_S * 1.1

ECHOED = ("tasks", "events", "tool-calls", "model-calls", "failures", "delays")


@dataclass(frozen=True)
class Outcome:
    broken: str | None
    passes: int
    trace: list[str]


class Play:
    def __init__(self, schedule: Schedule, traced: bool = False) -> None:
        self.schedule = schedule
        self.world = World(schedule.seed, schedule.faults, PASSES_MAX)
        self.world.strike = self._strike
        self.trace: list[str] = []
        self.world.trace = self.trace if traced else None
        self.broker = Broker(self.world, schedule.partitions, schedule.new_transactions)
        self.claims = Claims(self.broker, schedule.exactly_once)
        self.broker.on_commit = self.claims.commits
        self.broker.on_wrong_number = self.claims.breaks
        self.outside = Process(self.world, "outside", counted=False)
        self._disks: dict[str, dict[str, Any]] = {}

    def run(self) -> Outcome:
        BROKER[:] = [self.broker]
        Rdict.on_write = self.claims.wrote
        try:
            self.world.loop.run_until_complete(self._play())
        except Broken as why:
            self.claims.broken.append(str(why))
        except Deadlock:
            self.claims.broken.append("nothing can happen any more, and tasks have not ended")
        broken = self.claims.broken[0] if self.claims.broken else None
        return Outcome(broken, self.world.passes, self.trace)

    # ------------------------------------------------------------ from beginning to end

    async def _play(self) -> None:
        outside = Outside(self.broker, self.schedule.submissions, self.schedule.exactly_once)
        for number in range(self.schedule.workers):
            self._start(f"w{number}")
        people = self.outside.start(outside.run)
        try:
            await self._until(people, ENDS_WITHIN_S)
            if not people.done():
                missing = {each.task for each in self.schedule.submissions} - outside.ended.keys()
                raise Broken(f"stuck: {', '.join(sorted(missing))}")
            people.result()
            await self._until(self.world.loop.create_task(asyncio.sleep(QUIET_S)), QUIET_S + 1)
            self._judge(outside)
        finally:
            await self._end()

    async def _until(self, task: "asyncio.Future[Any]", s: float) -> None:
        done = {task, self.world.exhausted}
        await asyncio.wait(done, timeout=s, return_when=asyncio.FIRST_COMPLETED)

    def _judge(self, outside: Outside) -> None:
        for submission in self.schedule.submissions:
            result = outside.ended[submission.task]
            if not is_right(PLAYED[submission.case], result):
                raise Broken(f"{submission.task} ended as {result.outcome}: {result.result} {result.problem}")
        for twice in self.claims.twice(self.schedule.has_echoes):
            raise Broken(twice)
        if left := self.claims.left_open():
            raise Broken(f"left open in the state: {left}")
        if self.world.exhausted.done():
            raise Broken(f"still busy after {self.world.passes} passes")

    async def _end(self) -> None:
        """All processes die, and unwind."""
        self.world.trace = None
        for process in [*self.world.processes, self.outside]:
            process.kill()
        current = asyncio.current_task()
        while left := [each for each in asyncio.all_tasks(self.world.loop) if each is not current]:
            for task in left:
                task.cancel()
            await asyncio.sleep(0)

    # ------------------------------------------------------------ workers

    def _start(self, name: str) -> None:
        process = Process(self.world, name, self._disks.setdefault(name, {}))
        self.world.processes.append(process)
        settings = settings_of(self.schedule)
        for stage in ALL_STAGES[:-1]:  # Faust is not simulated
            runner = self._runner(stage, settings, name)
            process.runners.append(runner)
            process.start(lambda runner=runner: self._supervise(runner))  # type: ignore[misc]
        self.world.note(process, "starts")

    def _runner(self, stage: str, settings: Settings, worker: str) -> Runner:
        if stage not in CALLS:
            runner = STAGES[stage](Resources(APP, settings, worker, metrics(), Objects(settings)))
            assert isinstance(runner, PureRunner)
            return watched(runner, self.claims)
        calls = Watched(CALLS[stage](), self.claims)
        return EffectRunner(
            EffectStage(stage, calls, self.schedule.in_flight_max), settings, worker, metrics()
        )

    async def _supervise(self, runner: Runner) -> None:
        """As `segue.streams.engine.supervisor` does it, without its service."""
        backoff_s = BACKOFF_S_MIN
        await runner.open()
        while not PROCESS.get().stopping:
            try:
                await runner.run()
            except Exception as error:  # noqa: BLE001 - whatever it is, the way back is the same
                self.world.note(PROCESS.get(), f"{runner.name} failed: {error!r}")
                self._expected(runner.name, error)
                await asyncio.sleep(backoff_s)
                backoff_s = min(backoff_s * 2, BACKOFF_S_MAX)
        await runner.close()

    def _expected(self, stage: str, error: BaseException) -> None:
        while isinstance(error, BaseExceptionGroup):
            error = cast("BaseExceptionGroup[BaseException]", error).exceptions[0]
        if not isinstance(error, KafkaError | SegueError | OSError):
            self.claims.breaks(f"stage {stage} failed, which is a bug: {error!r}")

    # ------------------------------------------------------------ faults

    def _strike(self, process: Process, fault: Fault) -> None:
        match fault.kind:
            case "kill":
                self._kill(process, fault.s)
            case "lose the disk":
                self._disks[process.name] = {}
                self._kill(process, fault.s)
            case "terminate":
                self._terminate(process, fault.s)
            case "freeze":
                process.freeze(fault.s)
            case "silence":
                process.silence(fault.s)
            case "add":
                self._start(f"w{len(self._disks)}")
            case "move the clock":
                process.skew_ms += round((self.world.chance.random() - 0.5) * 2000 * fault.s)
            case _:
                self._echo()

    def _kill(self, process: Process, back_s: float) -> None:
        if not process.dead:
            process.kill()
            self.world.later(back_s, lambda: self._start(process.name))

    def _terminate(self, process: Process, back_s: float) -> None:
        if process.stopping or process.dead:
            return

        async def stop() -> None:
            process.stopping = True
            for runner in process.runners:
                await runner.stop()
            for consumer in process.consumers:
                consumer.wake()
            await asyncio.wait(process.tasks, timeout=STOP_S_MAX)
            self._kill(process, back_s)

        self.outside.start(stop)

    def _echo(self) -> None:
        """A record of long ago stands on its topic once more."""
        chance = self.world.chance
        log = self.broker.logs[
            TopicPartition(chance.choice(ECHOED), chance.randrange(self.schedule.partitions))
        ]
        if entries := [entry for entry in log.entries if entry.counts]:
            log.append(chance.choice(entries)._replace(by="echo", transaction=None))


# ---------------------------------------------------------------- what workers are made of


class ModelsOfTests:
    """Answers as the corpus's models do."""

    async def start(self) -> None: ...

    async def stop(self) -> None: ...

    def candidate(self, call: CallModel) -> str:
        return APP.routes[call.route].names[call.candidate_index]

    async def __call__(self, call: CallModel, telling: TokenPublisher | None = None) -> Reply:
        return Reply(MODELS[call.route](call), self.candidate(call))


@cache
def metrics() -> Metrics:
    return Metrics(APP)


CALLS: dict[str, Callable[[], Calls]] = {
    "model": lambda: pipeline("model", APP, ModelsOfTests(), metrics()),
    "tool": lambda: pipeline("tool", APP, ToolExecutor(APP), metrics()),
    "check": lambda: pipeline("check", APP, CheckExecutor(APP), metrics()),
}


class Watched:
    """Calls that take time, during which anything may happen, and are noted."""

    def __init__(self, calls: Calls, claims: Claims) -> None:
        self._calls = calls
        self._claims = claims
        self.executor = calls.executor

    def job(self, record: Received, owned: Owned) -> Job:
        job = self._calls.job(record, owned)
        name = f"{record.topic} {job.id}"
        self._claims.delivered(record, name)
        return replace(job, perform=lambda: self._perform(record, name, job, owned))

    async def _perform(self, record: Received, name: str, job: Job, owned: Owned) -> Decision:
        process = PROCESS.get()
        await owned()
        execution = self._claims.begins(record, name, process)
        try:
            await process.passes(f"begins {name}")
            drawn = process.world.chance.random()
            await asyncio.sleep(drawn * CALL_S_MAX if drawn < 0.9 else (drawn - 0.9) * 10 * LONG_CALL_S_MAX)
            decision = await job.perform()
            await process.passes(f"ends {name}")
        except asyncio.CancelledError:
            execution.cancelled = True
            raise
        self._claims.finished.add(name)
        return decision


def watched(runner: PureRunner, claims: Claims) -> PureRunner:
    """The same runner, with stages whose records are noted."""
    made: Any = runner
    stage: PureStage = made._stage

    def make(state: State) -> Stage:
        return InOrder(stage.make(state), claims)

    made._stage = replace(stage, make=make)
    return runner


class InOrder:
    """A stage that is handed each record of its partition once, in the order of the topic.

    A stage is made anew when its partition is taken, so what was fetched before comes too late for it.
    """

    def __init__(self, stage: Stage, claims: Claims) -> None:
        self._stage = stage
        self._claims = claims
        self._handled: dict[tuple[str, int], int] = {}

    def handle(self, record: Received, now_ms: int) -> Decision:
        at, last = (record.topic, record.partition), self._handled.get((record.topic, record.partition), -1)
        if record.offset <= last:
            self._claims.breaks(f"{record.topic}/{record.partition} {record.offset} was handled after {last}")
        self._handled[at] = record.offset
        return self._stage.handle(record, now_ms)

    def due_ms(self) -> int | None:
        return self._stage.due_ms()

    def tick(self, now_ms: int) -> Decision:
        return self._stage.tick(now_ms)

    def close(self) -> None:
        self._stage.close()

    def resumed(self, now_ms: int) -> Iterable[Resumed]:
        """Of `conduct` alone: no other stage is asked."""
        assert isinstance(self._stage, Resumes)
        return self._stage.resumed(now_ms)


class TakesTime(CallPipeline):
    """Local calls: most answer within the patience that there is with them, some do not."""

    def local(self, call: CallTool, tenant: str | None, owned: Owned = at_once) -> Job:
        job = super().local(call, tenant, owned)
        return replace(job, perform=lambda: self._perform_local(job))

    async def _perform_local(self, job: Job) -> Decision:
        process = PROCESS.get()
        await process.passes(f"begins {job.id}, local")
        await asyncio.sleep(process.world.chance.random() * LOCAL_CALL_S_MAX)
        return await job.perform()


def local_calls(app: App, metrics: Metrics, objects: Objects) -> LocalCalls:
    """In place of the worker's."""
    executor = ToolExecutor(app)
    return LocalCalls(app, TakesTime(app, executor, attempt("tool", metrics), execute(executor)))


def settings_of(schedule: Schedule) -> Settings:
    return Settings(
        kafka="simulated:9092",
        guarantee="exactly_once" if schedule.exactly_once else "at_least_once",
        partitions=schedule.partitions,
        cached_tasks_max=schedule.cached_tasks_max,
        running_tasks_max=schedule.running_tasks_max,
        state_dir=_folder(),
    )


@cache
def _folder() -> Path:
    return Path(tempfile.mkdtemp(prefix="segue-simulation-"))


class _Bugs(logging.Handler):
    """What a stage logs as an error is one."""

    def __init__(self, claims: Claims) -> None:
        super().__init__(logging.ERROR)
        self._claims = claims

    def emit(self, record: logging.LogRecord) -> None:
        self._claims.breaks(f"logged: {record.getMessage()} {record.exc_info and record.exc_info[1]!r}")


def play(schedule: Schedule, traced: bool = False) -> Outcome:
    pure_runner.POLL_MS_MAX = effect_runner.POLL_MS_MAX = IDLE_POLL_MS
    pure_runner.SOME, pure_runner.LINGER_S = 1, LINGER_S
    pure_runner.OUTBOX_RECORDS_MAX = schedule.outbox_records_max
    stages.local_calls = local_calls
    playing = Play(schedule, traced)
    log, bugs = logging.getLogger("segue.streams"), _Bugs(playing.claims)
    log.addHandler(bugs)
    log.propagate = False
    try:
        return playing.run()
    finally:
        log.removeHandler(bugs)
