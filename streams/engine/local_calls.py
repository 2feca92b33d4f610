"""Makes calls of local tools where they are asked for: in `conduct`, without a hop through `tool-calls`.

    a batch's decisions ─▶ calls of local tools are taken out ─▶ made, all at once
                              ├▶ answered, or failed: that is published, in the batch's transaction
                              └▶ takes too long: interrupted, published to `tool-calls` as any other call

A step costs one commit then, not two. Only the first attempt is made here: what failed is retried by way of
its topics. A crash before the commit has the calls of the batch made again, as it has those in flight in an
effect stage. The batch waits for its calls, and with it all tasks of the worker: so a tool that took too long
is left to the stage `tool` for a while.
"""

import asyncio
import logging
from collections.abc import Iterable
from itertools import zip_longest

from segue.processors.app.app import App
from segue.streams.calls.calls import CallPipeline, Job
from segue.streams.engine.outbox import Asked, Outbox
from segue.streams.kafka.broker_clock import now_ms
from segue.streams.object_store.claim_check import Owned, at_once
from segue.topics.flow import Decision, Received, tenant_in
from segue.topics.records import CallTool

log = logging.getLogger(__name__)

PATIENCE_S = 0.1
"""For all calls of a batch: a commit takes some 5 ms, and a group's heartbeat a second."""

REST_S = 60.0
"""How long a tool that took longer is not called here."""

CALLS_MAX = 512
"""Of a batch: more go to the stage `tool`, which other workers share."""

UNWIND_S = 1.0
"""What is interrupted may clean up; what takes longer for that goes on beside."""


class LocalCalls:
    """Those of the stage `conduct` on one worker."""

    def __init__(self, app: App, calls: CallPipeline) -> None:
        self._names = app.local
        self._calls = calls
        self._rests_until_s: dict[str, float] = {}

    def taken_from(self, decision: Decision, cause: Received | None) -> list[Asked]:
        """Takes what can be called here out of `decision`."""
        if cause is None:
            return []
        asked = [
            Asked(publish, publish.value, cause, decision.tenant)
            for publish in decision.publish
            if isinstance(publish.value, CallTool) and self._takes(publish.value)
        ]
        if asked:
            taken = {id(each.publish) for each in asked}
            decision.publish = [publish for publish in decision.publish if id(publish) not in taken]
        return asked

    def _takes(self, call: CallTool) -> bool:
        if call.route not in self._names or call.checks or call.undoes is not None:
            return False
        rests_until_s = self._rests_until_s.get(call.route)
        return rests_until_s is None or asyncio.get_running_loop().time() >= rests_until_s

    async def serve(self, outbox: Outbox, stage: str, owned: Owned = at_once) -> None:
        """Adds to `outbox` what comes of its calls; of those that take too long, the calls themselves."""
        asked, outbox.local = outbox.local, []
        jobs = [self._calls.local(each.call, _tenant(each), owned) for each in asked]
        made = await _made(jobs[:CALLS_MAX])
        for each, job, outcome in zip_longest(asked, jobs, made):
            decision = outcome or Decision([each.publish])
            decision.tenant = each.tenant
            outbox.add_outcome(decision, each.cause, job.instead, stage, now_ms())
        for each, decision in zip(asked, made, strict=False):
            if decision is None:
                self._rest(each.call.route)

    def _rest(self, route: str) -> None:
        now_s = asyncio.get_running_loop().time()
        if self._rests_until_s.get(route, 0.0) <= now_s:
            log.warning(
                "local tool %r did not answer within %g s: the stage `tool` makes its calls for %g s; "
                "if that is usual, take local=True away",
                *(route, PATIENCE_S, REST_S),
            )
        self._rests_until_s[route] = now_s + REST_S


def _tenant(asked: Asked) -> str | None:
    return tenant_in(asked.cause.headers) if asked.tenant is None else asked.tenant or None


async def _made(jobs: Iterable[Job]) -> list[Decision | None]:
    """What came of each; None for those that took too long, or that a bug of ours ended."""
    tasks = [asyncio.ensure_future(job.perform()) for job in jobs]
    try:
        _, late = await asyncio.wait(tasks, timeout=PATIENCE_S)
        for task in late:
            task.cancel()
        if late:
            await asyncio.wait(late, timeout=UNWIND_S)
    finally:
        for task in tasks:
            task.cancel()
    return [
        None if not task.done() or task.cancelled() or task.exception() else task.result() for task in tasks
    ]
