"""What comes of each call in memory, as an effect stage would publish it: by the product's own executors.

One call is made at a time, in the order in which they were asked for, and takes no time on the task's clock.
What it takes on the wall's is bounded by the policy, as ever.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from segue.processors.app.app import App
from segue.processors.stages.check import accepted, refused, to_judge, unchecked
from segue.processors.stages.put_aside import put_aside
from segue.processors.stages.reply import Reply
from segue.processors.stages.tool import failed, replied
from segue.streams.calls.calls import Executor
from segue.streams.calls.candidate_selection import CandidateSelector
from segue.streams.calls.candidate_stats import Knowledge
from segue.streams.calls.failures import output_of, problem_of
from segue.streams.executors import CheckExecutor
from segue.streams.object_store.claim_check import PayloadResolver
from segue.streams.object_store.store import Objects
from segue.streams.process.user_code import raise_if_ours
from segue.topics import codec
from segue.topics.descriptions import is_ctrl_c, text_of
from segue.topics.errors import BadRecord, OutputRejected, in_words
from segue.topics.flow import Decision, Received, tenant_in
from segue.topics.records import CallModel, CallTool, CheckOutput

AnyCall = CallModel | CallTool

log = logging.getLogger(__name__)

READ_BY = {"model-calls": "model", "tool-calls": "tool", "checks": "check"}

InALoop = Callable[[Callable[[], Awaitable[Decision]]], Decision]
"""Runs a coroutine function in an event loop, and returns what it came to."""


@dataclass(frozen=True)
class Effects:
    """Calls of models and tools, and checks. `made` hears of each call that is made, and by whom."""

    app: App
    models: Executor
    tools: Executor
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
            log.exception("stage %s failed on a record: it is put aside", stage)
            return put_aside(record, stage, in_words(bug), now_ms)

    def _decided(self, record: Received, now_ms: int) -> Decision:
        call = codec.decode(record.topic, record.value)
        if isinstance(call, CheckOutput):
            return self.in_a_loop(lambda: self._check(call, record, now_ms))
        if (choosing := CandidateSelector(self.app, self.knowledge)).is_due(call):
            return self.in_a_loop(lambda: choosing.choose(call, record))
        return self.in_a_loop(lambda: self._call(call, record, now_ms))

    async def _call(self, call: AnyCall, record: Received, now_ms: int) -> Decision:
        executor = self.models if isinstance(call, CallModel) else self.tools
        by = executor.candidate(call)
        self.made(call, by)
        try:
            reply: Reply = await self._served(executor, call, call, record)
        except BaseException as error:  # noqa: BLE001 - user code may raise anything
            raise_if_ours(error)
            return failed(call, by, problem_of(error), 0.0, now_ms, *output_of(error))
        return replied(call, reply, 0.0, now_ms)

    async def _check(self, output: CheckOutput, record: Received, now_ms: int) -> Decision:
        try:
            place = await self._served(CheckExecutor(self.app), output, output.call, record)
        except OutputRejected as reason:
            return refused(output, text_of(reason), now_ms)
        except BaseException as error:  # noqa: BLE001 - user code may raise anything
            raise_if_ours(error)
            return unchecked(output, problem_of(error), now_ms)
        return accepted(output, now_ms) if place is None else to_judge(output, place, now_ms)

    async def _served(self, executor: Executor, asked: Any, call: AnyCall, record: Received) -> Any:
        policy = self.app.routes[call.route].policy
        bytes_max = policy.result_bytes_max
        payload_resolver = PayloadResolver(
            self.objects, call.task, tenant_in(record.headers), refers=True, bytes_max=bytes_max
        )
        async with asyncio.timeout(policy.timeout_s):
            return await payload_resolver.serve(executor, asked)
