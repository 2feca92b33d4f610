"""A worker's metrics after it has seen every kind of record: what tests and dashboards are held against."""

from typing import Any, Literal

from segue.processors.app.app import App
from segue.processors.app.decorators import workflow
from segue.processors.routing.mcp import McpServer
from segue.processors.routing.routes import ModelRoute, ToolRoute
from segue.processors.workflow.task import Task
from segue.streams.observability.metrics import Metrics
from segue.topics.flow import Publish, Received, dead_letter
from segue.topics.parts import Choice, Spent, Usage
from segue.topics.records import (
    Admitted,
    Answered,
    AttemptFailed,
    CallModel,
    CallTool,
    CancelRequested,
    CheckOutput,
    Critique,
    Delay,
    Origin,
    Problem,
    PutAside,
    Question,
    QuestionClosed,
    Record,
    RecordsLost,
    Rejected,
    Result,
    SignalReceived,
    Status,
    StepFailed,
    StepSucceeded,
    Submitted,
    TimerFired,
)

AT: dict[str, Any] = {"task": "t-1", "at_ms": 61_000}
STEP: dict[str, Any] = {**AT, "step": 0, "fingerprint": "p"}
CALL: dict[str, Any] = {**STEP, "workflow": "book"}
ORIGIN = Origin(topic="signals", partition=0, offset=7)
BUSY = Problem(type="Busy", message="try later")
VAGUE = Critique(output="x", reason="too vague")


@workflow
async def book(task: Task, request: str) -> str:
    return request


HOTELS = McpServer("hotels", command=("hotels",))
APP = App(
    "travel",
    workflows=[book],
    routes=[
        ModelRoute("rank", ["openai:large", "ollama:small"]),
        ToolRoute("search", [HOTELS.tool("search"), HOTELS.tool("browse")]),
    ],
)


def asks(**changes: Any) -> CallModel:
    given: dict[str, Any] = {**CALL, "route": "rank", "prompt": "best?", **changes}
    return CallModel(**given)


def calls(**changes: Any) -> CallTool:
    given: dict[str, Any] = {**CALL, "route": "search", "arguments": {}, **changes}
    return CallTool(**given)


def delays(record: TimerFired | CallModel | CallTool | Answered) -> Delay:
    return Delay(task="t-1", id="0", due_ms=1, topic="events", record=record)


def ended(**changes: Any) -> Result:
    given: dict[str, Any] = {**AT, "workflow": "book", "outcome": "succeeded", "started_ms": 1_000, **changes}
    return Result(**given)


def stands(state: Literal["queued", "parked"]) -> Status:
    given: dict[str, Any] = {"workflow": "book", "version": 1, "partition": 0, "offset": 0, "started_ms": 0}
    return Status(**AT, **given, state=state)


def dead() -> Publish:
    return dead_letter(Received("tasks", 0, 3, b"k", b"{", (), 0), "intake", "not JSON", 0)


ANSWERED = Answered(**AT, id="a", step=0, value=1, origin=ORIGIN)
SUCCEEDED = StepSucceeded(**STEP, result=1, candidate="hotels.search")
USED = Usage(model="large", input_tokens=120, output_tokens=30)
PRICED = USED.model_copy(update={"usd": 0.5})

HISTORY: list[tuple[str, Record]] = [
    ("intake", Submitted(**AT, workflow="book", version=1, input=None)),
    ("conduct", Admitted(**AT, priority=9, waited_ms=2_000)),
    ("delay", PutAside(**AT, id="delays/0/7", problem=BUSY)),
    ("conduct", stands("queued")),
    ("intake", Rejected(**AT, workflow="t-1 has no such workflow", problem=BUSY)),
    ("intake", ANSWERED),
    ("intake", SignalReceived(**AT, id="s", name="paid", value=1, origin=ORIGIN)),
    ("intake", CancelRequested(**AT, id="c", reason="no", origin=ORIGIN)),
    ("conduct", asks()),
    ("conduct", calls()),
    ("conduct", delays(TimerFired(**STEP))),
    ("conduct", delays(ANSWERED)),
    ("conduct", Question(**AT, step=0, workflow="book", to="customer", text="which?")),
    ("conduct", QuestionClosed(**AT, step=0, reason="answered")),
    ("conduct", stands("parked")),
    ("conduct", ended(spent=Spent(calls=2, input_tokens=240, usd=0.5))),
    ("conduct", ended(outcome="rejected", workflow="t-1 has no such workflow")),
    ("model", StepSucceeded(**STEP, result=1, candidate="openai:large", usage=USED)),
    (
        "model",
        CheckOutput(**AT, call=asks(), result=1, candidate="openai:large", duration_ms=1.0, usage=PRICED),
    ),
    ("model", asks(choice=Choice(order=(0, 1), by="cheapest", reason="$0.1"))),
    ("tool", SUCCEEDED),
    ("tool", AttemptFailed(**AT, call=calls(), candidate="hotels.search", problem=BUSY)),
    ("check", StepSucceeded(**STEP, result=1, candidate="openai:large", usage=USED)),
    ("check", AttemptFailed(**AT, call=asks(), candidate="openai:large", problem=BUSY, critique=VAGUE)),
    ("check", AttemptFailed(**AT, call=asks(), candidate="openai:large", problem=BUSY)),
    ("recover", asks(attempt=2, critiques=(VAGUE,))),
    ("recover", delays(calls(attempt=2, tries=1))),
    ("recover", calls(attempt=3, candidate_index=1)),
    ("recover", StepFailed(**STEP, problem=BUSY, candidate="hotels.browse")),
    ("delay", TimerFired(**STEP)),
    ("tool", PutAside(**AT, id="p", problem=BUSY)),
    ("tool", RecordsLost(topic="tool-calls", before_ms=0, at_ms=0)),
    ("delay", calls(attempt=2, tries=1)),
    ("delay", ANSWERED),
]


def worked() -> Metrics:
    metrics = Metrics(APP, worker="w1")
    for stage, record in HISTORY:
        metrics.published(stage, [Publish("…", "t-1", record)])
    metrics.published("intake", [dead()])
    metrics.in_flight("tool", lambda: 1)
    metrics.attempt("tool", "search", "hotels.search", "succeeded", 0.02)
    metrics.circuit("hotels.search", lambda: "open")
    metrics.circuit_opened("hotels.search")
    metrics.limit_wait("tool", "hotels", lambda: 2.5)
    metrics.batch("conduct", 40, 0.006)
    metrics.lag("conduct", "events", 2, 17)
    metrics.restoring("conduct", 2, 900)
    metrics.lost("tool", "tool-calls", 3)
    metrics.parked(2, 3)
    return metrics
