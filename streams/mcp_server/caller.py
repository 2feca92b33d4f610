"""The client of one call, as far as the protocol goes: what it can be told, and how it can be asked.

Until 2025-11-25 a server asks its client in the middle of a call, and the call waits for the answer. Since
2026-07-28 the call returns with the questions, and the client calls again with the answers and with the state
that it was given: here the task's id. Whoever may call the tool may also name that id, so nothing is sealed.
"""

from collections.abc import Iterable
from typing import Any, cast

from mcp.server import ServerRequestContext
from mcp.shared.exceptions import MCPError
from mcp_types import (
    CallToolRequestParams,
    CallToolResult,
    ElicitRequest,
    ElicitRequestFormParams,
    ElicitResult,
    InputRequiredResult,
    TextContent,
)

from segue.processors.routing.mcp import IDEMPOTENCY_KEY, RETRYABLE
from segue.streams.mcp_server.forms import form_of, message_of
from segue.topics.records import Question

Answer = CallToolResult | InputRequiredResult

TASK = "segue/task-id"
"""In the `_meta` of every result."""

STATE = "segue/state"

DECLINED = ElicitResult(action="decline")


class Caller:
    def __init__(self, context: ServerRequestContext[Any, Any], params: CallToolRequestParams) -> None:
        self._context = context
        self._params = params
        self._told = 0

    @property
    def arguments(self) -> dict[str, Any]:
        return self._params.arguments or {}

    @property
    def idempotency_key(self) -> str | None:
        """Another Segue's, which gives its step's with every attempt of it."""
        key = cast("dict[str, Any]", self._context.meta or {}).get(IDEMPOTENCY_KEY)
        return key if isinstance(key, str) else None

    @property
    def comes_back_to(self) -> str | None:
        """Return the task that the call continues with, after its questions were answered."""
        return self._params.request_state

    @property
    def answers(self) -> dict[int, ElicitResult]:
        given = self._params.input_responses or {}
        forms = {step: each for step, each in given.items() if isinstance(each, ElicitResult)}
        return {int(step): each for step, each in forms.items() if step.isdecimal()}

    @property
    def has_a_person(self) -> bool:
        """Whether it shows forms."""
        able = self._context.session.client_capabilities
        forms = able.elicitation if able else None
        return forms is not None and (forms.form is not None or forms.url is None)

    @property
    def answers_at_once(self) -> bool:
        return self._context.session.can_send_request

    async def tell(self, message: str) -> None:
        """Send progress if the client asked for it: a count, because the number of steps is not known."""
        self._told += 1
        await self._context.session.report_progress(self._told, message=message)

    async def ask(self, question: Question, refused: str | None) -> ElicitResult:
        """Declined, also if the client fails at it."""
        session, request = self._context.session, self._context.request_id
        try:
            return await session.elicit_form(message_of(question, refused), form_of(question), request)
        except MCPError:
            return DECLINED


def asking_back(task: str, questions: Iterable[Question], refused: dict[int, str]) -> InputRequiredResult:
    """What a call returns that needs answers before it can go on."""
    forms = {
        str(question.step): ElicitRequest(
            params=ElicitRequestFormParams(
                message=message_of(question, refused.get(question.step)), requested_schema=form_of(question)
            )
        )
        for question in questions
    }
    return InputRequiredResult(input_requests=dict(forms), request_state=task)


def refusal(
    why: str, task: str | None = None, *, retryable: bool = True, about: dict[str, Any] | None = None
) -> CallToolResult:
    """Return a tool's error, which a model can read and act on."""
    meta = (about or {}) | ({TASK: task} if task else {}) | ({} if retryable else {RETRYABLE: False})
    return CallToolResult(content=[TextContent(type="text", text=why)], is_error=True, _meta=meta or None)
