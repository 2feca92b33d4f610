"""What a call passes before it is made, without Kafka: who waits, who is skipped, who is moved."""

import asyncio
from pathlib import Path

import pytest

from segue.processors.app.app import App
from segue.processors.routing.circuit_breaker import CircuitBreaker
from segue.processors.routing.policy import Policy
from segue.processors.routing.rate_limits import Limit, places
from segue.processors.routing.routes import AnyRoute, ModelRoute, ToolRoute
from segue.processors.routing.tools import tool
from segue.processors.stages.outcome import Answered, Failed, Outcome, decision_of
from segue.processors.stages.reply import Reply
from segue.streams.calls.candidate_stats import Figures
from segue.streams.calls.circuit import CircuitSteps
from segue.streams.calls.circuit_breakers import CircuitBreakers
from segue.streams.calls.context import CallContext, Proceed, Step, chained
from segue.streams.calls.throttle import CallThrottle
from segue.streams.engine.outbox import Outbox
from segue.streams.engine.stages import STAGES, Resources
from segue.streams.kafka.best_effort_producer import BestEffortProducer
from segue.streams.kafka.broker_clock import now_ms
from segue.streams.kafka.partitioner import partition_of
from segue.streams.object_store.store import Objects
from segue.streams.observability.metrics import Metrics
from segue.streams.settings import Settings
from segue.topics import codec
from segue.topics.flow import MOVED, Received
from segue.topics.health import Health, State
from segue.topics.parts import Choice, Usage
from segue.topics.records import CallTool, Problem
from tests.executors.calls import call_tool

ALL = (0, 1, 2, 3)


@tool
async def rooms() -> None: ...


@tool
async def spare() -> None: ...


@tool
async def other() -> None: ...


def app(**limits: Limit) -> App:
    routes: list[ToolRoute[object]] = [ToolRoute("search", [rooms, spare])]
    return App(
        "a", workflows=[], routes=routes, tools=[other], limits=limits, circuit_breaker=CircuitBreaker()
    )


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(state_dir=tmp_path, partitions=len(ALL))


@pytest.fixture
def board(settings: Settings) -> CircuitBreakers:
    return CircuitBreakers(settings, "one", BestEffortProducer(settings), Metrics(app()))


def received(call: CallTool, *headers: tuple[str, bytes], partition: int = 0) -> Received:
    return Received("tool-calls", partition, 0, call.task.encode(), codec.encode(call), headers, 0)


def call(step: int = 0, route: str = "search", candidate: int = 0) -> CallTool:
    return call_tool(route, step=step, candidate_index=candidate)


def context(asked: CallTool, *headers: tuple[str, bytes]) -> CallContext:
    by = {"search": "rooms"}.get(asked.route, asked.route)
    return CallContext(asked, asked, by, Policy(), None, headers)


ANSWERED = Answered(Reply("done", "rooms"), 1.0)
BROKEN = Failed(Problem(type="Http", message="503"))


def learn(board: CircuitBreakers, state: State, since_ms: int = 1, good_s: float = 60) -> None:
    health = Health(
        candidate="rooms",
        state=state,
        since_ms=since_ms,
        until_ms=now_ms() + 60_000,
        window_s=30,
        attempts=14,
        failures=14,
        at_ms=now_ms(),
        good_until_ms=now_ms() + round(good_s * 1000),
    )
    board.learn(Received("health", 0, 0, b"rooms", codec.encode(health), (), 0))


class Calls:
    """Calls that are made until `finish` lets them end."""

    def __init__(self, *steps: Step) -> None:
        self._steps = steps
        self.begun: list[int] = []
        self._ends: dict[int, asyncio.Event] = {}

    def make(self, step: int, route: str = "search", candidate: int = 0) -> "asyncio.Task[Outcome]":
        made = chained(self._steps, self._execute)
        return asyncio.ensure_future(made(context(call(step, route, candidate))))

    async def _execute(self, context: CallContext) -> Outcome:
        step = context.call.step
        self.begun.append(step)
        await self._ends.setdefault(step, asyncio.Event()).wait()
        return ANSWERED

    def finish(self, step: int) -> None:
        self._ends[step].set()


def comes_to(outcome: Outcome) -> Proceed:
    async def execute(context: CallContext) -> Outcome:
        return outcome

    return execute


async def settle() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


# ---------------------------------------------------------------- limits


async def test_calls_begin_in_order_as_places_are_free_and_others_pass_those_who_wait(
    settings: Settings,
) -> None:
    throttle = CallThrottle("tool", app(rooms=Limit(concurrent=2)), settings)
    throttle.own(ALL)
    calls = Calls(throttle)
    made = [calls.make(step) for step in range(4)] + [calls.make(4, route="other")]
    await settle()
    assert calls.begun == [0, 1, 4]
    assert throttle.waiting == 2
    calls.finish(1)
    await made[1]
    await settle()
    assert calls.begun == [0, 1, 4, 2]
    for task in made:
        task.cancel()


async def test_who_is_cancelled_while_it_waits_leaves_its_place_to_the_next(settings: Settings) -> None:
    throttle = CallThrottle("tool", app(rooms=Limit(concurrent=1)), settings)
    throttle.own(ALL)
    calls = Calls(throttle)
    made = [calls.make(step) for step in range(4)]
    await settle()
    made[1].cancel()
    await settle()
    calls.finish(0)
    asyncio.get_running_loop().call_soon(made[2].cancel)  # its turn has come, and it has not begun
    await made[0]
    await settle()
    assert calls.begun == [0, 3]
    assert throttle.waiting == 0
    made[3].cancel()


async def test_while_the_group_rebalances_nobody_begins(settings: Settings) -> None:
    throttle = CallThrottle("tool", app(rooms=Limit(per_minute=6_000, concurrent=9)), settings)
    throttle.own(())
    calls = Calls(throttle)
    made = calls.make(0)
    await asyncio.sleep(0.05)
    assert (calls.begun, throttle.is_waiting(made)) == ([], True)  # type: ignore[arg-type]
    throttle.own(ALL)
    await settle()
    assert calls.begun == [0]
    made.cancel()


async def test_a_rate_lets_the_next_go_by_itself(settings: Settings) -> None:
    throttle = CallThrottle("tool", app(rooms=Limit(per_minute=1_200)), settings)
    throttle.own((0,))  # a quarter: 5 a second
    calls = Calls(throttle)
    made = [calls.make(step) for step in range(3)]
    await asyncio.sleep(0.1)
    assert calls.begun == [0]
    async with asyncio.timeout(5):
        while len(calls.begun) < 3:  # noqa: ASYNC110 - the gate's own timer is what is tested
            await asyncio.sleep(0.02)
    for task in made:
        task.cancel()


async def test_how_long_the_first_has_waited_is_told_of_the_limit_that_holds_it_back(
    settings: Settings,
) -> None:
    throttle = CallThrottle("tool", app(rooms=Limit(concurrent=1), search=Limit(concurrent=9)), settings)
    throttle.own(ALL)
    assert throttle.waited_s("rooms") == 0
    calls = Calls(throttle)
    made = [calls.make(step) for step in range(2)]
    await asyncio.sleep(0.3)
    made.append(calls.make(2))
    await settle()
    first_s = throttle.waited_s("rooms")
    assert (first_s >= 0.3, throttle.waited_s("search")) == (True, 0)
    calls.finish(0)
    await settle()
    assert (calls.begun, 0 < throttle.waited_s("rooms") < first_s) == ([0, 1], True)
    for task in made:
        task.cancel()
    await settle()
    assert throttle.waited_s("rooms") == 0


async def test_a_stage_s_metrics_tell_of_the_limits_that_its_calls_count_in(settings: Settings) -> None:
    routes: list[AnyRoute] = [ToolRoute("search", [rooms]), ModelRoute("rank", ["ollama:small"])]
    limits = {name: Limit(concurrent=1) for name in ("rank", "rooms", "search")}
    limited = App("a", workflows=[], routes=routes, limits=limits)
    metrics = Metrics(limited)
    for stage in ("tool", "model", "check"):
        STAGES[stage](Resources(limited, settings, "one", metrics, Objects(settings)))
    told = [
        sample.labels
        for family in metrics.registry.collect()
        if family.name == "segue_rate_limit_wait_seconds"
        for sample in family.samples
    ]
    assert told == [
        {"stage": "tool", "limit": "rooms"},
        {"stage": "tool", "limit": "search"},
        {"stage": "model", "limit": "rank"},
    ]


async def test_without_a_place_a_call_is_moved_and_what_comes_of_it_goes_where_its_task_is(
    settings: Settings,
) -> None:
    (place,) = places("rooms", 1, len(ALL))
    throttle = CallThrottle("tool", app(rooms=Limit(concurrent=1)), settings)
    throttle.own(set(ALL) - {place})
    home = partition_of(b"t1", len(ALL))
    asked = call()

    moved = await chained([throttle], comes_to(BROKEN))(context(asked))
    outbox = Outbox(settings)
    outbox.add(decision_of(asked, "rooms", moved, 0), received(asked, partition=home))
    (record,) = outbox.records
    assert (record.to.topic, record.to.partition, record.key) == ("tool-calls", place, b"t1")
    assert (MOVED, b"") in record.headers

    outbox = Outbox(settings)
    answer = decision_of(asked, "rooms", ANSWERED, 0)
    outbox.add(answer, received(asked, *record.headers, partition=place))
    assert outbox.records[0].to.partition == home


async def test_a_call_that_was_moved_waits_where_it_is(settings: Settings) -> None:
    (place,) = places("rooms", 1, len(ALL))
    throttle = CallThrottle("tool", app(rooms=Limit(concurrent=1)), settings)
    throttle.own(set(ALL) - {place})
    assert await chained([throttle], comes_to(ANSWERED))(context(call(), (MOVED, b""))) == ANSWERED


CONSUMED = Usage(model="m", input_tokens=900, output_tokens=100)


@pytest.mark.parametrize(
    "came",
    [
        Answered(Reply("done", "rooms", CONSUMED)),
        Failed(Problem(type="OutputRefused", message="no JSON"), usage=CONSUMED),
    ],
)
async def test_tokens_count_whether_or_not_the_output_was_an_answer(
    settings: Settings, came: Outcome
) -> None:
    throttle = CallThrottle("tool", app(rooms=Limit(tokens_per_minute=60_000)), settings)
    throttle.own(ALL)
    await chained([throttle], comes_to(came))(context(call()))
    calls = Calls(throttle)
    made = calls.make(1)
    await settle()
    assert (calls.begun, throttle.waiting) == ([], 1), "1,000 tokens are a second's worth"
    made.cancel()


# ---------------------------------------------------------------- circuits


def circuit(board: CircuitBreakers) -> list[Step]:
    steps = CircuitSteps(app(), board)
    return [steps.skip, steps.count]


async def outcome(board: CircuitBreakers, asked: CallTool, comes: Outcome = ANSWERED) -> str:
    came = await chained(circuit(board), comes_to(comes))(context(asked))
    return came.problem.type if isinstance(came, Failed) else "made"


async def test_a_call_to_an_open_candidate_fails_at_once_so_that_the_next_is_taken(
    board: CircuitBreakers,
) -> None:
    assert await outcome(board, call()) == "made"
    learn(board, "open")
    assert await outcome(board, call()) == "CircuitOpen"


async def test_the_last_candidate_is_called_whatever_its_circuit(board: CircuitBreakers) -> None:
    learn(board, "open")
    assert await outcome(board, call(candidate=1)) == "made"


async def test_the_last_in_the_order_that_was_chosen_is_called_whatever_its_circuit(
    board: CircuitBreakers,
) -> None:
    learn(board, "open")
    turned = Choice(order=(1, 0), by="fastest", reason="spare is faster")
    assert await outcome(board, call().model_copy(update={"choice": turned})) == "made"
    asked = Choice(order=(0, 1), by="fastest", reason="rooms is faster")
    assert await outcome(board, call(1).model_copy(update={"choice": asked})) == "CircuitOpen"


async def test_one_probe_at_a_time_and_none_after_one_that_failed(board: CircuitBreakers) -> None:
    learn(board, "half_open")
    calls = Calls(*circuit(board))
    first = calls.make(0)
    await settle()
    assert await outcome(board, call(1)) == "CircuitOpen"
    calls.finish(0)
    await first
    assert await outcome(board, call(2), BROKEN) == "Http"
    assert await outcome(board, call(3)) == "CircuitOpen"
    learn(board, "half_open", since_ms=2)
    assert await outcome(board, call(4)) == "made"


async def test_a_probe_that_is_cancelled_leaves_its_turn_to_another(board: CircuitBreakers) -> None:
    learn(board, "half_open")
    first = Calls(*circuit(board)).make(0)
    await settle()
    first.cancel()
    await settle()
    assert await outcome(board, call(1)) == "made"


def test_figures_are_for_whoever_chooses_among_candidates(board: CircuitBreakers) -> None:
    assert board.of("search", "rooms") == Figures()
    learn(board, "open")
    assert board.of("search", "rooms") == Figures(None, 1.0, "open")
    assert board._counts["rooms"].skipped == 1, "so that its circuit moves on"  # pyright: ignore[reportPrivateUsage]
    learn(board, "open", good_s=-1)
    assert board.of("search", "rooms") == Figures(), "and old ones are forgotten"
