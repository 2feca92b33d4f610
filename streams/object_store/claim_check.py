"""Around each call: values that it refers to are loaded, and an answer that no record can hold is kept.

A workflow has only the reference of such a value and passes it on, so the journal stays small however large
the data is; here, where tools and checks run, the reference and the value are exchanged for each other.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from typing import Any

from pydantic_core import from_json, to_jsonable_python

from segue.processors.payloads.blob import DATA, JSON, as_data, bytes_of, reference, whole
from segue.processors.stages.reply import Reply
from segue.streams.object_store.store import TaskObjectStore
from segue.topics.codec import DEPTH_MAX, json_of, too_deep
from segue.topics.errors import BadInput, Permanent
from segue.topics.records import AgentOperation, CallModel, CallTool, CheckOutput

AGENT_DEPTH_MAX = DEPTH_MAX - 10
"""An agent passes an answer on within its conversation, which nests it deeper."""

REFERENCE = b'"kind":"value"'
"""Stands in a record that refers to a value; looking for it costs less than walking through the arguments."""

MARK = f'"{DATA}"'.encode()


def may_refer(record: bytes | None) -> bool:
    """Whether the record may hold a reference, or data that is marked because it looks like one."""
    return REFERENCE in (record or b"") or MARK in (record or b"")


Owned = Callable[[], Awaitable[None]]
"""Awaited just before a call is made: returns when its partition is surely this worker's. A worker that was
stopped for a while would else make calls that others have made since. Never raises."""


async def at_once() -> None:
    """For calls that nobody else could make."""


async def loaded(call: CallModel | CallTool | CheckOutput, task_objects: TaskObjectStore) -> Any:
    """What is called with; what is published of the call keeps the references.

    Raises `Retryable` or `Permanent` for the store.
    """
    match call:
        case CallTool():
            arguments = await whole(call.arguments, task_objects)
            return call.model_copy(
                update={"arguments": arguments, "agent": await _loaded_operation(call.agent, task_objects)}
            )
        case CallModel():
            judging = await loaded(call.judging, task_objects) if call.judging is not None else None
            changes = {
                "prompt": await whole(call.prompt, task_objects),
                "agent": await _loaded_operation(call.agent, task_objects),
            }
            return call.model_copy(update={**changes, "judging": judging})
        case CheckOutput():
            checks = [
                bound.model_copy(update={"arguments": await whole(bound.arguments, task_objects)})
                for bound in call.call.checks
            ]
            asked = (await loaded(call.call, task_objects)).model_copy(update={"checks": tuple(checks)})
            return call.model_copy(update={"call": asked, "result": await whole(call.result, task_objects)})


async def _loaded_operation(
    operation: AgentOperation | None, task_objects: TaskObjectStore
) -> AgentOperation | None:
    if operation is None or not operation.large:
        return operation
    large = {name: await _joined(pieces, task_objects) for name, pieces in operation.large.items()}
    return operation.model_copy(update={"body": operation.body | large, "large": {}})


async def _joined(pieces: Iterable[dict[str, Any]], task_objects: TaskObjectStore) -> Any:
    """All at once: a long conversation has dozens, and a store may take a tenth of a second for each."""
    found = await asyncio.gather(*(bytes_of(reference(piece), task_objects) for piece in pieces))
    return from_json(b"".join(found))


async def kept(
    reply: Reply, call: CallModel | CallTool, task_objects: TaskObjectStore | None, bytes_max: int | None
) -> Reply:
    """The answer, or a reference to it if no record can hold it. Raises `Permanent` or `Retryable`.

    An agent looks into what its tools and models answer, so that must fit.
    """
    body = _body(reply, DEPTH_MAX if call.agent is None else AGENT_DEPTH_MAX)
    if call.agent or task_objects is None:
        return reply
    if len(body) <= task_objects.payload_bytes_max:
        return reply._replace(result=as_data(reply.result))
    if bytes_max is not None and len(body) > bytes_max:
        raise Permanent(
            f"{reply.candidate} answered with {len(body):,} bytes, "
            f"over the {bytes_max:,} of its policy's result_bytes_max"
        )
    blob = await task_objects.put(body, JSON, "value")
    return reply._replace(result=to_jsonable_python(blob))


def _body(reply: Reply, depth_max: int) -> bytes:
    """The answer as JSON. Raises `Permanent` if it has none, or if the workflow could not pass it on."""
    try:
        body = json_of(reply.result)
    except BadInput as error:
        raise Permanent(f"the answer of {reply.candidate}: {error}") from None
    if too_deep(body, depth_max):
        raise Permanent(
            f"the answer of {reply.candidate} has lists and objects nested deeper than {depth_max}"
        )
    return body
