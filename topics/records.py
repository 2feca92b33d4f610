"""Every record that Segue writes to or reads from a topic.

Events are past tense (`StepSucceeded`), commands imperative (`CallTool`). A record is frozen, is made with no
unknown fields, carries its version `v`, and names its `kind`, so that a consumer in any language can tell
them apart. Identifiers derive from their cause: a step is `task/step`, an attempt `task/step/attempt`, so the
same record always asks for the same thing.

Times are integers in milliseconds since the Unix epoch (`at_ms`), durations floats in ms (`duration_ms`).
"""

from typing import Annotated, Any, Literal, Self, get_args

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from segue.topics.parts import ABSENT, Budget, Choice, Part, Refusal, Spent, Usage, Verdict, is_absent

VERSION = 1
"""The version that this code writes, and the newest that it reads."""

TaskId = Annotated[str, Field(min_length=1, max_length=200, pattern=r"^[^\x00-\x1f\x7f]+$")]
"""Also the key of every record about the task: 1 to 200 characters, none of them a control character."""

Tenant = Annotated[str, Field(min_length=1, max_length=100, pattern=r"^[^\x00-\x1f\x7f/]+$")]
"""On whose behalf a task runs: what limits, fairness and keys go by. No control character and no slash."""

PRIORITY_MAX = 9

Priority = Annotated[int, Field(ge=0, le=PRIORITY_MAX)]
"""Among tasks that wait to begin the higher goes first; 0 is usual."""

Number = Annotated[int, Field(ge=0, le=2**31 - 1)]
"""Counts steps, attempts, candidates: from 0, and never so many."""

Milliseconds = Annotated[int, Field(ge=-(2**63), le=2**63 - 1)]
"""Since the Unix epoch: what Kafka's own timestamps can hold."""

SignalId = Annotated[str, Field(max_length=200)]
"""Names a signal within its task: the same one twice counts once."""

RETRY_AFTER_S_MAX = 366 * 24 * 60 * 60.0
"""A year: who asks to be called again later than that means never."""
STEPS_MAX = 50_000
"""Steps that a task may ask for, from its beginning to its end. More is a loop that does not end."""

PENDING_STEPS_MAX = 10_000
"""Calls and children that a task may have open at once. All that it asks for at once is one transaction."""

OpenState = Literal["queued", "running", "waiting", "parked"]
"""Where a task that has not ended stands."""

Outcome = Literal["succeeded", "failed", "cancelled", "rejected"]
"""How a task ended. `rejected` never began: its workflow is unknown or its input does not validate."""

OPEN: tuple[OpenState, ...] = get_args(OpenState)
ENDED: tuple[Outcome, ...] = get_args(Outcome)
STATES: tuple[str, ...] = (*OPEN, *ENDED)
"""All states of a task, as its status names them."""


class Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    v: Literal[1] = 1


# ---------------------------------------------------------------- parts


class Parent(Part):
    """The step of another task that waits for this one."""

    task: TaskId
    step: Number
    fingerprint: str


class Origin(Part):
    """Where a record that came from outside stood: enough to find its bytes again."""

    topic: str
    partition: int
    offset: int


def _words(text: str) -> str:
    """Exceptions may speak of file names that are no UTF-8, and are told all the same."""
    return text.encode(errors="backslashreplace").decode()


Words = Annotated[str, AfterValidator(_words)]


class Problem(Part):
    """Why something failed, for people and for policies. `traceback` only where user code raised."""

    type: str
    message: Words
    retryable: bool = True
    retry_after_s: float | None = Field(default=None, ge=0, le=RETRY_AFTER_S_MAX)
    traceback: Words | None = None


class Critique(Part):
    """An output that was refused, and why: what the model is told when it is asked again."""

    output: Any
    reason: str


class NotUndone(Part):
    """What should have been undone when its task failed, and was not: `undo` gave up on `step`."""

    step: Number
    undo: str
    problem: Problem


class CheckCall(Part):
    """A registered check to run over an output, with the arguments that the workflow bound to it.

    `judge` is the model route to ask instead, where a model judges: then `arguments` is what it is asked.
    """

    name: str
    arguments: dict[str, Any] = Field(default_factory=dict[str, Any])
    judge: str | None = None


class Option(Part):
    """One answer that a question offers: `value` is what the workflow gets, `label` what the person sees."""

    label: str
    value: Any


# ---------------------------------------------------------------- from outside: `tasks` and `signals`


class TaskRequest(Record):
    """Topic `tasks`: starts a task. Without an `id` the record's key is it; the same id twice starts one.

    Without an `input` it gets the workflow's default. `by_reference` says that `input` stands for a larger
    one, which a client has put into the object store.
    """

    kind: Literal["task"] = "task"
    id: TaskId | None = None
    workflow: str
    version: int | None = None
    input: Any = Field(default=ABSENT, exclude_if=is_absent)
    by_reference: bool = False
    tenant: Tenant | None = None
    priority: Priority = 0
    budget: Budget | None = None


class Answer(Record):
    """Topic `signals`: answers a question. `step` may be left out while the task has one open question."""

    kind: Literal["answer"] = "answer"
    id: SignalId | None = None
    task: TaskId
    step: Number | None = None
    value: Any
    by: str | None = None


class Signal(Record):
    """Topic `signals`: an outside event for `Task.signal(name)`. The same `id` twice counts once."""

    kind: Literal["signal"] = "signal"
    id: SignalId | None = None
    task: TaskId
    name: str
    value: Any = None


class Cancel(Record):
    """Topic `signals`: cancels a task; its workflow sees `asyncio.CancelledError` and may clean up.

    By `force` its code is not asked, whatever it is at: the task ends at once, and nothing is undone.
    """

    kind: Literal["cancel"] = "cancel"
    id: SignalId | None = None
    task: TaskId
    reason: str = "cancelled on request"
    force: bool = False


# ---------------------------------------------------------------- `events`: the task's log, the only truth


class Run(Part):
    """A run of a task that went on anew. `number` counts from 1; the task's beginning is none.

    Steps are numbered from `first_step` on. A copy of a signal, answer or cancellation that an
    earlier run received is recognised by `seen_ids`; `buffered_signals` are those that no run took.
    """

    number: Number
    first_step: Number
    seen_ids: tuple[str, ...] = ()
    buffered_signals: tuple["SignalReceived", ...] = ()


class Submitted(Record):
    """A task begins, or one that goes on anew begins its next `run`."""

    kind: Literal["submitted"] = "submitted"
    task: TaskId
    workflow: str
    version: int
    input: Any
    validated: bool = False
    """The input is what its type made of it: it is read, and not validated once more."""
    tenant: Tenant | None = None
    priority: Priority = 0
    steps_max: int = STEPS_MAX
    pending_steps_max: int = PENDING_STEPS_MAX
    """A task keeps the limits that it was submitted with: playing it again, it meets them where it did."""
    budget: Budget | None = None
    parent: Parent | None = None
    run: Run | None = None
    origin: Origin | None = None
    at_ms: Milliseconds


class Rejected(Record):
    """A task request that can't start: `problem` says what to do."""

    kind: Literal["rejected"] = "rejected"
    task: TaskId
    workflow: str
    problem: Problem
    origin: Origin | None = None
    at_ms: Milliseconds


class Admitted(Record):
    """A task that had to wait for its turn begins. Its time starts here: one that begins at once has none."""

    kind: Literal["admitted"] = "admitted"
    task: TaskId
    priority: Priority = 0
    waited_ms: Milliseconds
    at_ms: Milliseconds


class StepSucceeded(Record):
    """`fingerprint` is that of what was asked; `candidate` names the one of `route` that answered.

    `usage` is of the attempt that answered, `spent` of the whole step, where that is more.
    """

    kind: Literal["step_succeeded"] = "step_succeeded"
    task: TaskId
    step: Number
    fingerprint: str
    result: Any
    attempt: Number = 1
    route: str | None = None
    candidate: str | None = None
    duration_ms: float = 0.0
    usage: Usage | None = None
    spent: Spent | None = None
    choice: Choice | None = None
    at_ms: Milliseconds


class StepFailed(Record):
    """The policy gave up on the step: the workflow gets the exception, with what was refused on the way."""

    kind: Literal["step_failed"] = "step_failed"
    task: TaskId
    step: Number
    fingerprint: str
    problem: Problem
    attempt: Number = 1
    route: str | None = None
    candidate: str | None = None
    refusals: tuple[Refusal, ...] = ()
    spent: Spent | None = None
    at_ms: Milliseconds


class TimerFired(Record):
    """`closes` is the step of the question whose deadline the timer is."""

    kind: Literal["timer_fired"] = "timer_fired"
    task: TaskId
    step: Number
    fingerprint: str
    closes: Number | None = None
    at_ms: Milliseconds


class Answered(Record):
    kind: Literal["answered"] = "answered"
    task: TaskId
    id: str
    step: Number | None
    value: Any
    by: str | None = None
    origin: Origin
    at_ms: Milliseconds
    early: bool = False
    """Came before its task did, and has waited once."""


class SignalReceived(Record):
    kind: Literal["signal_received"] = "signal_received"
    task: TaskId
    id: str
    name: str
    value: Any
    origin: Origin
    at_ms: Milliseconds
    early: bool = False


class CancelRequested(Record):
    kind: Literal["cancel_requested"] = "cancel_requested"
    task: TaskId
    id: str
    reason: str
    force: bool = False
    origin: Origin | None = None
    at_ms: Milliseconds
    early: bool = False


class PutAside(Record):
    """A record of the task could not be processed and is in the dead letters: the task may wait in vain."""

    kind: Literal["put_aside"] = "put_aside"
    task: TaskId
    id: str
    problem: Problem
    at_ms: Milliseconds


# ---------------------------------------------------------------- commands: one call of a model or a tool


class AgentOperation(Part):
    """One operation of an agent, which the agent of that name performs: a request, a tool call, a listing.

    `operation` is the agent's own name for it; `name` is what it is for people, `search` or `hotels.search`.
    `body` is what the operation is given, in the JSON that Pydantic AI makes of it. Entries of it that no
    record can hold are in `large`: the JSON of each is in these objects, one after the other.
    """

    agent: str
    operation: str
    name: str
    body: dict[str, Any]
    large: dict[str, tuple[dict[str, Any], ...]] = Field(
        default_factory=dict[str, tuple[dict[str, Any], ...]]
    )


CRITIQUES_KEPT_MAX = 8
"""A call carries the critiques of its candidate; more than this would crowd out the prompt."""


class Call(Record):
    """The fields that every call has.

    `attempt` counts tries of the step from 1 over all candidates and names the attempt; `candidate_index` is
    the place in the route's candidates and `tries` counts the tries of that candidate before this one.
    `critiques` are this candidate's, `refusals` those of all. `spent` is what the step has consumed before
    this attempt, `budget` what the task had left when it asked.
    """

    task: TaskId
    step: Number
    attempt: Number = 1
    fingerprint: str
    workflow: str
    route: str
    candidate_index: Number = 0
    tries: Number = 0
    checks: tuple[CheckCall, ...] = ()
    critiques: tuple[Critique, ...] = ()
    agent: AgentOperation | None = None
    """Set where an agent asks: its model's messages, or what a tool of it needs beside the arguments."""
    choice: Choice | None = None
    """Set where the route chooses, before the first candidate is called."""
    refusals: tuple[Refusal, ...] = ()
    spent: Spent | None = None
    budget: Budget | None = None
    at_ms: Milliseconds

    @property
    def idempotency_key(self) -> str:
        """The same for every attempt of the step: what an outside service deduplicates by."""
        return f"{self.task}/{self.step}"

    def next_attempt(
        self, at_ms: int, spent: Spent | None, refusals: tuple[Refusal, ...], *, tries: int
    ) -> Self:
        """The same candidate once more. `spent` and `refusals` are those of all attempts by now."""
        known = {"attempt": self.attempt + 1, "spent": spent, "refusals": refusals, "at_ms": at_ms}
        return self.model_copy(update=known | {"tries": tries})

    def next_candidate(
        self, candidate: int, at_ms: int, spent: Spent | None, refusals: tuple[Refusal, ...]
    ) -> Self:
        """Another candidate, which has no critiques yet."""
        following = self.next_attempt(at_ms, spent, refusals, tries=0)
        return following.model_copy(update={"candidate_index": candidate, "critiques": ()})

    def criticised(
        self, critique: Critique, at_ms: int, spent: Spent | None, refusals: tuple[Refusal, ...]
    ) -> Self:
        """The same candidate once more, which is told what was wrong."""
        following = self.next_attempt(at_ms, spent, refusals, tries=self.tries)
        critiques = (*self.critiques, critique)[-CRITIQUES_KEPT_MAX:]
        return following.model_copy(update={"critiques": critiques})


class CallModel(Call):
    """`output` is the JSON schema that the answer must have; None asks for text.

    A call with `judging` asks a model to judge that output: its answer is a verdict, and no step's outcome.
    """

    kind: Literal["call_model"] = "call_model"
    prompt: Any = None
    instructions: str | None = None
    output: dict[str, Any] | None = None
    stream: bool = False
    """Tell on `tokens` what the model writes, while it does."""
    judging: "CheckOutput | None" = None

    @property
    def idempotency_key(self) -> str:
        if self.judging is None:
            return super().idempotency_key
        return f"{super().idempotency_key}/{self.judging.call.attempt}/check-{self.judging.passed}"


class CallTool(Call):
    kind: Literal["call_tool"] = "call_tool"
    arguments: dict[str, Any]
    undoes: Number | None = None
    """The step that this one undoes."""


AnyCall = Annotated[CallModel | CallTool, Field(discriminator="kind")]


class CheckOutput(Record):
    """Topic `checks`: an answer that must pass its call's checks before the workflow sees it.

    `passed` counts the checks that it has passed; `verdict` is what the judge that comes next has said, and
    `spent` what the step has consumed then, this attempt included.
    """

    kind: Literal["check_output"] = "check_output"
    task: TaskId
    call: AnyCall
    result: Any
    candidate: str
    duration_ms: float
    usage: Usage | None = None
    passed: Number = 0
    verdict: Verdict | None = None
    spent: Spent | None = None
    at_ms: Milliseconds


class AttemptFailed(Record):
    """Topic `failures`: one attempt failed, was refused by a check (`critique`), or timed out."""

    kind: Literal["attempt_failed"] = "attempt_failed"
    task: TaskId
    call: AnyCall
    candidate: str
    problem: Problem
    critique: Critique | None = None
    usage: Usage | None = None
    duration_ms: float = 0.0
    at_ms: Milliseconds


# ---------------------------------------------------------------- people, time, ends


class Question(Record):
    """Topic `questions`: asks a person. The answer is one of `options`, or what `answer` describes."""

    kind: Literal["question"] = "question"
    task: TaskId
    step: Number
    workflow: str
    to: str
    text: str
    options: tuple[Option, ...] = ()
    answer: dict[str, Any] | None = None
    """JSON schema of an answer that is none of `options`, for forms."""
    closes_at_ms: Milliseconds | None = None
    at_ms: Milliseconds


class Given(Part):
    """An answer: `id` names it, and `by` the person who gave it."""

    id: str
    value: Any
    by: str | None = None


class QuestionClosed(Record):
    """Topic `questions`: nobody needs to answer any more (`answered`, `expired` or `ended`).

    `answer` is the one that counted, if one did.
    """

    kind: Literal["question_closed"] = "question_closed"
    task: TaskId
    step: Number
    reason: Literal["answered", "expired", "ended"]
    answer: Given | None = None
    at_ms: Milliseconds


Delayed = Annotated[
    TimerFired | Answered | SignalReceived | CancelRequested | CallModel | CallTool,
    Field(discriminator="kind"),
]


class Delay(Record):
    """Topic `delays`: publish `record` to `topic` at `due_ms`. `id` is unique within the task."""

    kind: Literal["delay"] = "delay"
    task: TaskId
    id: str
    due_ms: Milliseconds
    topic: str
    record: Delayed


class Result(Record):
    """Topic `results`: a task ended. One for each task; an id that was rejected may begin, and end, later."""

    kind: Literal["result"] = "result"
    task: TaskId
    workflow: str
    outcome: Outcome
    result: Any = None
    problem: Problem | None = None
    not_undone: tuple[NotUndone, ...] = ()
    steps: int = 0
    tenant: Tenant | None = None
    spent: Spent | None = None
    started_ms: Milliseconds
    at_ms: Milliseconds


class Status(Record):
    """Topic `status` (compacted): where a task stands, for lists and inboxes.

    `partition` and `offset` say where in `events` its log begins. `state` is one of queued (it waits
    for its turn), running, waiting (a question is open), parked (its code does not match the log, or has a
    bug; `problem` says where), or an `Outcome`. `view` is what the workflow shows of itself.
    """

    kind: Literal["status"] = "status"
    task: TaskId
    workflow: str
    version: int
    state: OpenState | Outcome
    tenant: Tenant | None = None
    questions: tuple[Question, ...] = ()
    problem: Problem | None = None
    view: Any = None
    spent: Spent | None = None
    budget: Budget | None = None
    """As of when the status was published: not every step changes where a task stands."""
    parent: TaskId | None = None
    partition: int
    offset: int
    started_ms: Milliseconds
    at_ms: Milliseconds


class RecordsLost(Record):
    """Records of `topic` on this partition, written before `before_ms`, may be gone without having been read.

    It stands on `events` under no task's key: it concerns all open tasks of its partition.
    """

    kind: Literal["records_lost"] = "records_lost"
    topic: str
    before_ms: Milliseconds
    at_ms: Milliseconds


Event = (
    Submitted
    | Rejected
    | Admitted
    | StepSucceeded
    | StepFailed
    | TimerFired
    | Answered
    | SignalReceived
    | CancelRequested
    | PutAside
)
"""All that may stand on `events`."""

SignalRecord = Answer | Signal | Cancel
"""All that may stand on `signals`."""
