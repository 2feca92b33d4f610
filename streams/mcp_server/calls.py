"""What a call of a tool comes to: which task it is about, and what is returned for it.

A call that is cancelled, or whose client is gone, cancels the task that it started. Not if the call named the
task (by the argument `task_id`, or by another Segue's idempotency key): who gives an id means to come back,
and a lost connection must cost no work. Without an id nobody could ask for the task again.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import anyio
from mcp.shared.exceptions import MCPError
from mcp_types import INVALID_PARAMS, CallToolResult, TextContent
from pydantic_core import to_json

from segue.processors.app.app import App
from segue.processors.formatting import headline
from segue.streams.client.answers import named, question_for
from segue.streams.client.client import Client
from segue.streams.client.ids import new_id
from segue.streams.mcp_server.caller import STATE, TASK, Answer, Caller, refusal
from segue.streams.mcp_server.listing import ANSWER, CANCEL, RESULT, TASK_ID, Offer, offers_of
from segue.streams.mcp_server.watching import BY, Watching, has_ended
from segue.topics.errors import BadInput, SegueError, UnknownName
from segue.topics.records import Result, Status

CALLS_MAX = 200
"""At once: each reads the topics with a consumer of its own."""

CANCEL_S_MAX = 5.0
"""A task that was started just now is known after some milliseconds; one that no worker takes up, never."""

CANCEL_AGAIN_S = 0.1

GONE = "its caller disconnected, and gave no task_id to call again with"


@dataclass(frozen=True)
class Terms:
    """`asks`: whose questions are put to clients, None for everybody's. `wait_s`: a call lasts no longer.

    `tenant`: on whose behalf tasks are started; tasks of others can't be asked for.
    """

    asks: frozenset[str] | None = None
    wait_s: float | None = None
    tenant: str | None = None


class Calls:
    def __init__(self, app: App, client: Client, terms: Terms) -> None:
        self.offers = offers_of(app)
        self._app = app
        self._client = client
        self._terms = terms
        self._room = anyio.CapacityLimiter(CALLS_MAX)
        self._tools: dict[str, Callable[[Caller], Awaitable[Answer]]] = {
            RESULT: self._result,
            ANSWER: self._answer,
            CANCEL: self._cancel,
        }

    async def call(self, tool: str, caller: Caller) -> Answer:
        """Whatever Segue expects to go wrong is the error of the tool, for the client's model to read."""
        if tool not in self.offers and tool not in self._tools:
            there = ", ".join([*self.offers, *self._tools])
            raise MCPError(INVALID_PARAMS, f"there is no tool {tool!r}: choose one of {there}")
        try:
            self._room.acquire_nowait()
        except anyio.WouldBlock:
            return refusal(f"this server is running {CALLS_MAX} calls, its maximum: try again later")
        try:
            if tool in self._tools:
                return await self._tools[tool](caller)
            return await self._run(self.offers[tool], caller)
        except (SegueError, TimeoutError) as error:
            return refusal(str(error), retryable=not isinstance(error, BadInput | UnknownName))
        finally:
            self._room.release()

    # ------------------------------------------------------------ a workflow

    async def _run(self, offer: Offer, caller: Caller) -> Answer:
        named = _name_in(caller)
        task = caller.comes_back_to or named or new_id()
        try:
            if caller.comes_back_to is None:
                await self._start(offer, task, caller.arguments)
            return await self._to_the_end(task, caller, offer.workflow.name)
        except anyio.get_cancelled_exc_class():
            if named is None:
                with anyio.CancelScope(shield=True):
                    await self._give_up(task)
            raise

    async def _start(self, offer: Offer, task: str, arguments: dict[str, Any]) -> None:
        """Unless it was started before."""
        given, workflow = offer.input_of(arguments), offer.workflow
        known = await self._status_or_none(task)
        if known is None or known.state == "rejected":
            await self._client.start(workflow.name, given, task, workflow.version, tenant=self._terms.tenant)

    async def _to_the_end(self, task: str, caller: Caller, workflow: str | None = None) -> Answer:
        if not has_ended(await self._status_or_none(task, workflow)):
            watching = Watching(self._app, self._client, task, caller, self._terms.asks, self._terms.wait_s)
            if (early := await watching.to_the_end()) is not None:
                return early
            await self._status_or_none(task, workflow)  # it may be another's, and was not known then
        return self._returned(await self._client.result(task))

    def _returned(self, result: Result) -> CallToolResult:
        if result.outcome != "succeeded":
            why = f": {result.problem.message}" if result.problem else ""
            how = f"task {result.task!r} {'has ' if result.outcome == 'failed' else 'was '}{result.outcome}"
            return refusal(how + why, result.task, retryable=False, about={STATE: result.outcome})
        value = result.result
        text = value if isinstance(value, str) else to_json(value).decode()
        offer = self.offers.get(result.workflow)
        return CallToolResult(
            content=[TextContent(type="text", text=text)],
            structured_content=offer.structured(value) if offer else {"result": value},
            _meta={TASK: result.task, STATE: result.outcome},
        )

    async def _give_up(self, task: str) -> None:
        with anyio.move_on_after(CANCEL_S_MAX):
            while True:
                try:
                    await self._client.cancel(task, GONE)
                except UnknownName:
                    await anyio.sleep(CANCEL_AGAIN_S)
                except SegueError:  # it has ended
                    return
                else:
                    return

    # ------------------------------------------------------------ tasks that are known by their id

    async def _result(self, caller: Caller) -> Answer:
        status = await self._of_ours(caller)
        return await self._to_the_end(status.task, caller)

    async def _answer(self, caller: Caller) -> Answer:
        status, value = await self._of_ours(caller), caller.arguments.get("answer")
        question = question_for(status, caller.arguments.get("step"))
        if self._terms.asks is not None and question.to not in self._terms.asks:
            raise BadInput(f"the question is for {question.to!r}, and this server does not ask them")
        meant = named(question, value) if isinstance(value, str) else value
        counted = await self._client.answer(status.task, meant, question.step, by=BY)
        how = "" if counted else " (the task has not taken it yet)"
        told = f"answered {headline(question.text)!r}{how}; {RESULT} waits for what comes of it"
        return _done(told, status.task)

    async def _cancel(self, caller: Caller) -> Answer:
        status, reason = await self._of_ours(caller), caller.arguments.get("reason")
        await self._client.cancel(status.task, str(reason or "cancelled on request"))
        return _done("asked it to stop", status.task)

    async def _of_ours(self, caller: Caller) -> Status:
        """The task that is named. Of workflows that are no tools here nothing is told."""
        task = caller.arguments.get(TASK_ID)
        if not isinstance(task, str):
            raise BadInput(f"no task is named: give its {TASK_ID}")
        status = await self._status_or_none(task)
        if status is None or status.workflow not in self.offers:
            raise UnknownName(f"this server has no task {task!r}")
        return status

    async def _status_or_none(self, task: str, workflow: str | None = None) -> Status | None:
        """Where it stands, if any worker has taken it up. Raises `BadInput` if it is none of the caller's."""
        try:
            status = await self._client.status(task)
        except UnknownName:
            return None
        if status.tenant != self._terms.tenant and status.state != "rejected":  # that bears no tenant
            raise BadInput(f"task {task!r} is not yours: give another {TASK_ID}")
        if workflow not in (None, status.workflow):
            raise BadInput(f"task {task!r} is one of {status.workflow!r}: give another {TASK_ID}")
        return status


def _name_in(caller: Caller) -> str | None:
    """What the call names its task. A step's key ends as a child's id does, so it is not taken as it is."""
    named = caller.arguments.get(TASK_ID)
    if named is not None and not isinstance(named, str):
        raise BadInput(f"{TASK_ID} must be text")
    return named or (f"mcp:{key}:" if (key := caller.idempotency_key) else None)


def _done(text: str, task: str) -> CallToolResult:
    return CallToolResult(content=[TextContent(type="text", text=text)], _meta={TASK: task})
