"""What comes of each call in memory, as an effect stage would publish it: by the product's own steps.

One call is made at a time, in the order in which they were asked for, and takes no time on the task's clock.
What it takes on the wall's is bounded by the policy, as ever. No step waits for limits, or counts.
"""

import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial

from segue.processors.app.app import App
from segue.processors.stages.outcome import Outcome, decision_of
from segue.processors.stages.put_aside import put_aside
from segue.streams.calls.calls import CallPipeline
from segue.streams.calls.candidate_selection import CandidateSelector
from segue.streams.calls.candidate_stats import Knowledge
from segue.streams.calls.context import AnyCall, CallContext, Proceed, Step
from segue.streams.calls.steps import Payloads, catch, execute, execute_checks, execute_model
from segue.streams.calls.timeouts import Deadlines
from segue.streams.executors import CheckExecutor, ModelExecutor, ToolExecutor
from segue.streams.object_store.store import Objects
from segue.topics.descriptions import is_ctrl_c
from segue.topics.errors import BadRecord, in_words
from segue.topics.flow import Decision, Received

log = logging.getLogger(__name__)

READ_BY = {"model-calls": "model", "tool-calls": "tool", "checks": "check"}

InALoop = Callable[[Callable[[], Awaitable[Outcome]]], Outcome]
"""Runs a coroutine function in an event loop, and returns what it came to."""


@dataclass(frozen=True)
class Effects:
    """Calls of models and tools, and checks. `made` hears of each call that is made, and by whom."""

    app: App
    models: ModelExecutor
    tools: ToolExecutor
    in_a_loop: InALoop
    knowledge: Knowledge
    made: Callable[[AnyCall, str], None]
    objects: Objects | None = None

    def decide(self, record: Received, now_ms: int) -> Decision:
        try:
            return self._decided(record, now_ms)
        except BadRecord as bad:
            return put_aside(record, READ_BY[record.topic], str(bad), now_ms)
        except BaseException as bug:
            if is_ctrl_c(bug):
                raise
            stage = READ_BY[record.topic]
            log.exception("stage %s failed on a record, which goes to dead letters", stage)
            return put_aside(record, stage, in_words(bug), now_ms)

    def _decided(self, record: Received, now_ms: int) -> Decision:
        calls = self._calls(record.topic)
        context = calls.context(record)
        outcome = self.in_a_loop(partial(calls.outcome, context))
        return decision_of(context.asked, context.candidate, outcome, now_ms)

    def _calls(self, topic: str) -> CallPipeline:
        """Made anew for each call, which may have an event loop of its own."""
        attempt: list[Step] = [catch, Deadlines(), Payloads(self.objects)]
        if topic == "checks":
            checks = CheckExecutor(self.app)
            return CallPipeline(self.app, checks, attempt, execute_checks(checks))
        steps: list[Step] = [CandidateSelector(self.app, self.knowledge), self._note, *attempt]
        if topic == "model-calls":
            return CallPipeline(self.app, self.models, steps, execute_model(self.models))
        return CallPipeline(self.app, self.tools, steps, execute(self.tools))

    async def _note(self, context: CallContext, proceed: Proceed) -> Outcome:
        self.made(context.call, context.candidate)
        return await proceed(context)
