"""The steps of an attempt, in the order in which a call passes them.

Those before an attempt have files of their own: `candidate_selection`, `circuit` and `throttle`.
"""

import time
from collections.abc import Awaitable, Callable
from typing import Any

from segue.processors.payloads.blob import TASK_OBJECTS
from segue.processors.stages.outcome import (
    Accepted,
    Answered,
    Failed,
    JudgeNeeded,
    Outcome,
    Rejected,
)
from segue.processors.stages.reply import Reply
from segue.streams.calls.candidate_stats import Measured
from segue.streams.calls.context import CallContext, Proceed
from segue.streams.calls.failures import output_of, problem_of
from segue.streams.calls.token_stream import RecordSink, TokenPublisher
from segue.streams.object_store.claim_check import kept, loaded
from segue.streams.object_store.store import Objects
from segue.streams.observability.metrics import Metrics
from segue.streams.process.user_code import raise_if_ours
from segue.streams.text.redaction import redact
from segue.topics.descriptions import text_of
from segue.topics.errors import OutputRejected
from segue.topics.records import CallModel, CheckOutput
from segue.topics.tokens import TextState

Execute = Callable[[Any], Awaitable[Any]]


async def until_owned(context: CallContext, proceed: Proceed) -> Outcome:
    """Wait until the partition is surely this worker's."""
    await context.owned()
    return await proceed(context)


async def catch(context: CallContext, proceed: Proceed) -> Outcome:
    """Make a failed attempt of whatever the steps behind it raise."""
    try:
        return await proceed(context)
    except BaseException as error:  # noqa: BLE001 - user code may raise anything
        raise_if_ours(error)
        return Failed(problem_of(error), *output_of(error), timed_out=isinstance(error, TimeoutError))


class Measure:
    """Take the time of each attempt, for its record, for the metrics, and for routes that choose."""

    def __init__(self, stage: str, metrics: Metrics, measured: Measured | None = None) -> None:
        self._stage = stage
        self._metrics = metrics
        self._measured = measured

    async def __call__(self, context: CallContext, proceed: Proceed) -> Outcome:
        started_s = time.perf_counter()
        outcome = await proceed(context)
        seconds = time.perf_counter() - started_s
        call, by = context.call, context.candidate
        self._metrics.attempt(self._stage, call.route, by, _label(context, outcome), seconds)
        if self._measured is not None and call.choice is not None:
            self._measured.add(call.route, by, succeeded=isinstance(outcome, Answered), duration_s=seconds)
        match outcome:
            case Answered():
                return Answered(outcome.reply, seconds * 1000)
            case Failed():
                return outcome._replace(duration_ms=seconds * 1000)
            case _:
                return outcome


def _label(context: CallContext, outcome: Outcome) -> str:
    match outcome:
        case Answered():
            return "succeeded"
        case Accepted():
            return "accepted"
        case Rejected():
            return "refused"
        case JudgeNeeded():
            return "judged"
        case Failed(timed_out=True) if not isinstance(context.asked, CheckOutput):
            return "timed_out"
        case _:
            return "failed"


class Payloads:
    """Load the values that the call refers to; keep an answer that no record can hold in the object store."""

    def __init__(self, objects: Objects | None) -> None:
        self._objects = objects

    async def __call__(self, context: CallContext, proceed: Proceed) -> Outcome:
        call, task_objects = context.call, None
        if self._objects is not None:
            task_objects = self._objects.of_task(call.task, context.tenant)
            TASK_OBJECTS.set(task_objects)  # for user code: each call has an asyncio task, and so a context
            if context.refers:
                context = context._replace(asked=await loaded(context.asked, task_objects))
        outcome = await proceed(context)
        if not isinstance(outcome, Answered):
            return outcome
        reply = await kept(outcome.reply, call, task_objects, context.policy.result_bytes_max)
        return outcome if reply is outcome.reply else Answered(reply)


class Stream:
    """Tell what a model writes while it writes it, where the call asks for that.

    A call that fails or is given up takes its text back.
    """

    def __init__(self, best_effort_producer: RecordSink) -> None:
        self._best_effort_producer = best_effort_producer

    async def __call__(self, context: CallContext, proceed: Proceed) -> Outcome:
        call = context.asked
        if not isinstance(call, CallModel) or not call.stream:
            return await proceed(context)
        telling = TokenPublisher(self._best_effort_producer, call, context.candidate, context.tenant)
        state: TextState = "superseded"
        try:
            outcome = await proceed(context._replace(telling=telling))
            state = "finished" if isinstance(outcome, Answered) else "superseded"
            return outcome
        finally:
            telling.end(state)


# ---------------------------------------------------------------- the end of the list: the call itself


def execute(executor: Execute) -> Proceed:
    """Call a tool."""

    async def call(context: CallContext) -> Outcome:
        return Answered(await executor(context.asked))

    return call


def execute_model(executor: Callable[[Any, TokenPublisher | None], Awaitable[Reply]]) -> Proceed:
    async def call(context: CallContext) -> Outcome:
        return Answered(await executor(context.asked, context.telling))

    return call


def execute_checks(executor: Execute) -> Proceed:
    async def call(context: CallContext) -> Outcome:
        try:
            place: int | None = await executor(context.asked)
        except OutputRejected as refusal:
            return Rejected(redact(text_of(refusal)))
        return Accepted() if place is None else JudgeNeeded(place)

    return call
