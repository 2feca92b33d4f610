"""All records that Segue writes to or reads from topics.

Events are past tense (`StepSucceeded`), commands imperative (`CallTool`). A record is frozen, has no unknown
fields, and has its version `v` and its `kind`, so that a consumer in any language can distinguish records.
Identifiers are derived from their cause: a step is `task/step`, an attempt `task/step/attempt`, so the same
record always asks for the same thing.

Times are integers in milliseconds since the Unix epoch (`at_ms`), durations floats in ms (`duration_ms`).
"""

from typing import Annotated, Any, Literal, Self, get_args

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from segue.topics.parts import ABSENT, Budget, Choice, Part, Refusal, Spent, Usage, Verdict, is_absent

VERSION = 1
"""The version that this code writes, and the newest that it reads."""

TaskId = Annotated[str, Field(min_length=1, max_length=200, pattern=r"^[^\x00-\x1f\x7f]+$")]
"""The id of a task, and the key of all records about it: 1 to 200 characters, none of them a control
character."""

Tenant = Annotated[str, Field(min_length=1, max_length=100, pattern=r"^[^\x00-\x1f\x7f/]+$")]
"""The tenant of a task, for limits, fairness and encryption keys. No control character and no slash."""

PRIORITY_MAX = 9

Priority = Annotated[int, Field(ge=0, le=PRIORITY_MAX)]
"""The priority of a task that waits to begin: a higher one begins first; 0 is the default."""

Number = Annotated[int, Field(ge=0, le=2**31 - 1)]
"""A number of a step, attempt or candidate, counted from 0."""

Milliseconds = Annotated[int, Field(ge=-(2**63), le=2**63 - 1)]
"""Milliseconds since the Unix epoch, in the range of Kafka's timestamps."""

SignalId = Annotated[str, Field(max_length=200)]
"""The id of a signal in its task: two signals with one id count once."""

RETRY_AFTER_S_MAX = 366 * 24 * 60 * 60.0
"""The longest Retry-After that is honoured, in seconds: a year. A longer one means never."""
STEPS_MAX = 50_000
"""The most steps that a task may ask for in all. More steps mean a loop that does not end."""

PENDING_STEPS_MAX = 10_000
"""The most calls and children that a task may have open. All that it asks for at once is one transaction."""

OpenState = Literal["queued", "running", "waiting", "parked"]
"""The state of a task that has not ended."""

Outcome = Literal["succeeded", "failed", "cancelled", "rejected"]
"""The outcome of a task. A `rejected` task never began: its workflow is unknown or its input is not valid."""

OPEN: tuple[OpenState, ...] = get_args(OpenState)
ENDED: tuple[Outcome, ...] = get_args(Outcome)
STATES: tuple[str, ...] = (*OPEN, *ENDED)
"""All states of a task, as its status names them."""


class Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    v: Literal[1] = 1


# ---------------------------------------------------------------- parts


class Parent(Part):
    """The step of the parent task that waits for this task."""

    task: TaskId
    step: Number
    fingerprint: str


class Origin(Part):
    """The topic, partition and offset of a record from outside, by which its bytes can be found."""

    topic: str
    partition: int
    offset: int


def _words(text: str) -> str:
    """Escape characters that UTF-8 can't encode: messages of exceptions may contain such file names."""
    return text.encode(errors="backslashreplace").decode()


Words = Annotated[str, AfterValidator(_words)]


class Problem(Part):
    """The reason of a failure, for people and policies. `traceback` is set only if user code raised."""

    type: str
    message: Words
    retryable: bool = True
    retry_after_s: float | None = Field(default=None, ge=0, le=RETRY_AFTER_S_MAX)
    traceback: Words | None = None


class Critique(Part):
    """A rejected output with the reason, which the model gets when it is asked again."""

    output: Any
    reason: str


class NotUndone(Part):
    """A step that was not undone when its task failed, because its `undo` gave up."""

    step: Number
    undo: str
    problem: Problem


class CheckCall(Part):
    """A registered check to run over an output, with the arguments that the workflow bound to it.

    If a model judges, `judge` is its route, and `arguments` is the input of the judge.
    """

    name: str
    arguments: dict[str, Any] = Field(default_factory=dict[str, Any])
    judge: str | None = None


class Option(Part):
    """An answer that a question offers: the person sees `label`, the workflow gets `value`."""

    label: str
    value: Any


# ---------------------------------------------------------------- from outside: `tasks` and `signals`


class TaskRequest(Record):
    """Topic `tasks`: starts a task. Without an `id` the record's key is the id. Two with one id start one
    task.

    Without an `input` the task gets the workflow's default. `by_reference` means that `input` is a reference
    to a larger input, which a client has put into the object store.
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

    With `force` the task ends at once: its code does not run, and nothing is undone.
    """

    kind: Literal["cancel"] = "cancel"
    id: SignalId | None = None
    task: TaskId
    reason: str = "cancelled on request"
    force: bool = False


# ---------------------------------------------------------------- `events`: the task's log, the only truth


class Run(Part):
    """A later run of a task that continued as new. `number` counts from 1; the first run of a task has no
    `Run`.

    Steps are numbered from `first_step` on. `seen_ids` identifies copies of signals, answers and
    cancellations that an earlier run received; `buffered_signals` are the signals that no run has received.
    """

    number: Number
    first_step: Number
    seen_ids: tuple[str, ...] = ()
    buffered_signals: tuple["SignalReceived", ...] = ()


class Submitted(Record):
    """A task begins, or a task that continues as new begins its next `run`."""

    kind: Literal["submitted"] = "submitted"
    task: TaskId
    workflow: str
    version: int
    input: Any
    validated: bool = False
    """The input is already validated: it is read without a second validation."""
    tenant: Tenant | None = None
    priority: Priority = 0
    steps_max: int = STEPS_MAX
    pending_steps_max: int = PENDING_STEPS_MAX
    """A task keeps the limits that it was submitted with, so that a replay reaches them at the same step."""
    budget: Budget | None = None
    parent: Parent | None = None
    run: Run | None = None
    origin: Origin | None = None
    at_ms: Milliseconds


class Rejected(Record):
    """A task request was rejected: `problem` says why, and what to do."""

    kind: Literal["rejected"] = "rejected"
    task: TaskId
    workflow: str
    problem: Problem
    origin: Origin | None = None
    at_ms: Milliseconds


class Admitted(Record):
    """A task that waited for its turn begins, and its time starts. A task that begins at once has no such
    event.
    """

    kind: Literal["admitted"] = "admitted"
    task: TaskId
    priority: Priority = 0
    waited_ms: Milliseconds
    at_ms: Milliseconds


class StepSucceeded(Record):
    """A step succeeded. `fingerprint` is that of its request; `candidate` names the candidate of `route` that
    answered.

    `usage` is that of the attempt that answered, `spent` that of the whole step, if it is more.
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
    """The policy gave up on the step: the workflow gets the exception, with the critiques of rejected
    outputs.
    """

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
    """A timer fired. If it is the deadline of a question, `closes` is the question's step."""

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
    """The record came before its task, and has been delayed once."""


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
    """A record of the task could not be processed and is in the dead letters: the task may wait for it
    without end.
    """

    kind: Literal["put_aside"] = "put_aside"
    task: TaskId
    id: str
    problem: Problem
    at_ms: Milliseconds


# ---------------------------------------------------------------- commands: one call of a model or a tool


class AgentOperation(Part):
    """An operation of an agent (a request, a tool call, a listing), which the agent of that name performs.

    `operation` is the agent's own name for it; `name` is its name for people, `search` or `hotels.search`.
    `body` is the operation's input, in the JSON form of Pydantic AI. Entries that are too large for a record
    are in `large`: the JSON of each is the content of these objects, one after the other.
    """

    agent: str
    operation: str
    name: str
    body: dict[str, Any]
    large: dict[str, tuple[dict[str, Any], ...]] = Field(
        default_factory=dict[str, tuple[dict[str, Any], ...]]
    )


CRITIQUES_KEPT_MAX = 8
"""The most critiques of its candidate that a call has; more would leave too little room for the prompt."""


class Call(Record):
    """The fields that every call has.

    `attempt` counts tries of the step from 1 over all candidates and names the attempt; `candidate_index` is
    the place in the route's candidates and `tries` counts the tries of that candidate before this one.
    `critiques` are those of this candidate, `refusals` those of all candidates. `spent` is what the step
    consumed before this attempt, `budget` what the task had left when it asked for the step.
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
    """Set if an agent makes the call: the messages for its model, or the data that its tool needs besides the
    arguments."""
    choice: Choice | None = None
    """Set if the route has a chooser, before the first candidate is called."""
    refusals: tuple[Refusal, ...] = ()
    spent: Spent | None = None
    budget: Budget | None = None
    at_ms: Milliseconds

    @property
    def idempotency_key(self) -> str:
        """A key for outside services to deduplicate by; the same for every attempt of the step."""
        return f"{self.task}/{self.step}"

    def next_attempt(
        self, at_ms: int, spent: Spent | None, refusals: tuple[Refusal, ...], *, tries: int
    ) -> Self:
        """Return the next attempt of the same candidate. `spent` and `refusals` are those of all attempts so
        far.
        """
        known = {"attempt": self.attempt + 1, "spent": spent, "refusals": refusals, "at_ms": at_ms}
        return self.model_copy(update=known | {"tries": tries})

    def next_candidate(
        self, candidate: int, at_ms: int, spent: Spent | None, refusals: tuple[Refusal, ...]
    ) -> Self:
        """Return the next attempt, of another candidate, which has no critiques yet."""
        following = self.next_attempt(at_ms, spent, refusals, tries=0)
        return following.model_copy(update={"candidate_index": candidate, "critiques": ()})

    def criticised(
        self, critique: Critique, at_ms: int, spent: Spent | None, refusals: tuple[Refusal, ...]
    ) -> Self:
        """Return the next attempt of the same candidate, with the critique."""
        following = self.next_attempt(at_ms, spent, refusals, tries=self.tries)
        critiques = (*self.critiques, critique)[-CRITIQUES_KEPT_MAX:]
        return following.model_copy(update={"critiques": critiques})


class CallModel(Call):
    """A call of a model. `output` is the JSON schema of the answer; None asks for text.

    A call with `judging` asks a model to judge that output: its answer is a verdict, not a step's outcome.
    """

    kind: Literal["call_model"] = "call_model"
    prompt: Any = None
    instructions: str | None = None
    output: dict[str, Any] | None = None
    stream: bool = False
    """Publish the model's text on `tokens` while the model writes it."""
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

    `passed` counts the checks that it has passed; `verdict` is that of the next judge, and `spent` what the
    step has consumed by then, with this attempt.
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
    """Topic `failures`: an attempt failed, timed out, or was rejected by a check (`critique`)."""

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
    """Topic `questions`: asks a person. The answer is one of `options`, or a value that fits the schema
    `answer`.
    """

    kind: Literal["question"] = "question"
    task: TaskId
    step: Number
    workflow: str
    to: str
    text: str
    options: tuple[Option, ...] = ()
    answer: dict[str, Any] | None = None
    """The JSON schema of an answer that is not one of `options`, for forms."""
    closes_at_ms: Milliseconds | None = None
    at_ms: Milliseconds


class Given(Part):
    """An answer: `id` names it, and `by` the person who gave it."""

    id: str
    value: Any
    by: str | None = None


class QuestionClosed(Record):
    """Topic `questions`: the question needs no answer any more (`answered`, `expired` or `ended`).

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
    """Topic `results`: a task ended. Each task has one; a rejected id may begin, and end, later."""

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
    """Topic `status` (compacted): the current state of a task, for lists and inboxes.

    The task's log begins at `partition` and `offset` of `events`. `state` is one of queued (it waits for its
    turn), running, waiting (a question is open), parked (its code does not match the log, or has a bug;
    `problem` says where), or an `Outcome`. `view` is the value that the workflow shows.
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
    """The budget when the status was published: not every step publishes a status."""
    parent: TaskId | None = None
    partition: int
    offset: int
    started_ms: Milliseconds
    at_ms: Milliseconds


class RecordsLost(Record):
    """Records of `topic` on this partition, written before `before_ms`, may be gone without having been read.

    It is on `events` without the key of a task, because it concerns all open tasks of its partition.
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
"""All records of tasks on `events`."""

SignalRecord = Answer | Signal | Cancel
"""All records on `signals`."""
