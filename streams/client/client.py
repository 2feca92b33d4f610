"""The way in and out for programs and people: start a task, answer it, look at it, wait for its result.

A client writes to `tasks` and `signals` and reads what stands on the other topics. Nothing here needs a
worker to be alive: what is written waits for one, what is read was committed by one. Mistakes that can be
seen here are told here (`BadInput`, `UnknownName`), where somebody listens; the stages check again.
"""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from types import TracebackType
from typing import Any, Self, TypeVar, overload

from aiokafka import AIOKafkaProducer
from pydantic import ValidationError
from pydantic_core import PydanticSerializationError, to_json, to_jsonable_python

from segue.processors.definitions.workflow import Workflow
from segue.processors.payloads.blob import ANYTHING, JSON, Blob, Source, whole
from segue.processors.payloads.values import jsonable, values_of
from segue.processors.routing.budget import BUDGET_SIGNAL
from segue.processors.views.token_stream import Piece
from segue.streams.client.answers import as_answer, check_answer, question_for
from segue.streams.client.history import CLOCK_SKEW_MS, History, ended_how, records_of
from segue.streams.client.ids import new_id
from segue.streams.client.requests import TAKEN_UP_S_MAX, Requests, as_record, is_waiting
from segue.streams.client.status_table import StatusTable, each_status
from segue.streams.client.token_reader import listen
from segue.streams.client.verdicts import Verdict
from segue.streams.kafka.reader import REQUEST_TIMEOUT_MS, Reader, broker_errors
from segue.streams.object_store.store import Objects
from segue.streams.security.encryption import enveloped, keys_of
from segue.streams.settings import Settings
from segue.topics import codec
from segue.topics.contracts import LOG_TOPICS
from segue.topics.errors import BadInput, TaskFailed, Unavailable, UnknownName
from segue.topics.flow import Received
from segue.topics.parts import ABSENT, Budget
from segue.topics.records import ENDED, Answer, Cancel, Record, Result, Signal, Status, TaskRequest

R = TypeVar("R")
T = TypeVar("T", bound=Record)

ENVELOPE_BYTES = 1_000
"""Of a request, around its input."""

POLL_S = 0.05


class Client:
    """`async with Client(settings) as client: …`. Connects when first used."""

    def __init__(self, settings: Settings | None = None, table: StatusTable | None = None) -> None:
        """Create the client. `table` is a status table to share; it is closed with the client."""
        self._settings = settings or Settings.load()
        self._producer: Any = None
        self._table = table or StatusTable(self._settings)
        self._objects = Objects(self._settings)
        self._requests = Requests(self._settings)
        self._opening = asyncio.Lock()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            await self._table.close()
        finally:
            if self._producer is not None:
                await asyncio.shield(self._producer.stop())

    # ------------------------------------------------------------ in

    async def start(
        self,
        workflow: Workflow[Any, Any] | str,
        input: Any = ABSENT,  # noqa: A002
        id: str | None = None,  # noqa: A002
        version: int | None = None,
        *,
        tenant: str | None = None,
        priority: int = 0,
        budget: Budget | None = None,
    ) -> str:
        """Ask for a task and return its id. The same `id` twice starts one.

        `tenant` says on whose behalf: limits, turns and keys go by it. Where tasks wait for their turn, one
        of a higher `priority` (0 to 9) goes first. `budget` holds where it is less than the workflow's.
        """
        task = id if id is not None else new_id()
        if isinstance(workflow, Workflow):
            version = version or workflow.version
            input = workflow.given(input) if input is not ABSENT else ABSENT  # noqa: A001
            workflow = workflow.name
        asked: dict[str, Any] = {"id": task, "workflow": workflow, "version": version}
        if input is not ABSENT:
            given = _json(input)
            asked["input"] = await self._fitting(task, given, tenant)
            asked["by_reference"] = asked["input"] is not given
        request = self._record(TaskRequest, **asked, tenant=tenant, priority=priority, budget=budget)
        sent = await self._send("tasks", task, request, tenant)
        self._requests.sent(request, task, sent.partition, sent.timestamp)
        return task

    @overload
    async def run(
        self,
        workflow: Workflow[Any, R],
        input: Any = ...,
        id: str | None = None,
        *,
        tenant: str | None = None,
        priority: int = 0,
        budget: Budget | None = None,
    ) -> R: ...
    @overload
    async def run(
        self,
        workflow: str,
        input: Any = ...,
        id: str | None = None,
        *,
        tenant: str | None = None,
        priority: int = 0,
        budget: Budget | None = None,
    ) -> Any: ...
    async def run(
        self,
        workflow: Workflow[Any, Any] | str,
        input: Any = ABSENT,  # noqa: A002
        id: str | None = None,  # noqa: A002
        *,
        tenant: str | None = None,
        priority: int = 0,
        budget: Budget | None = None,
    ) -> Any:
        """Start a task, wait for its end, and return its value: of the workflow's type, or JSON by its name.

        Raises `TaskFailed` however else it ended. Whoever stops waiting, by `asyncio.timeout` say, stops no
        task: with the same `id` the same one is waited for again.
        """
        task = await self.start(workflow, input, id, tenant=tenant, priority=priority, budget=budget)
        result = await self.result(task)
        if result.outcome != "succeeded":
            raise TaskFailed(result)
        if not isinstance(workflow, Workflow):
            return result.result
        return values_of(workflow.output).read_data(result.result)

    async def answer(
        self,
        task: str,
        value: Any,
        step: int | None = None,
        id: str | None = None,  # noqa: A002
        by: str | None = None,
    ) -> bool:
        """Answer an open question; `step` may be left out while there is one. The value is checked here.

        Returns whether the answer counted: False if the task has not taken it yet, since no worker runs or
        the task is parked. Raises `BadInput` if it does not fit, and if it came too late (`TooLate`).
        """
        status = await self.status(task)
        question = question_for(status, step)
        value = as_answer(value)
        check_answer(question, value)
        answer = self._record(Answer, id=id or new_id(), task=task, step=question.step, value=value, by=by)
        async with Reader(self._settings) as reader:
            verdict = await Verdict.awaited(reader, question, answer)
            await self._send("signals", task, answer, status.tenant)
            return status.state != "parked" and await verdict.counts()

    async def signal(
        self,
        task: str,
        name: str,
        value: Any = None,
        id: str | None = None,  # noqa: A002
    ) -> None:
        """Tell a task of an outside event. The same `id` twice counts once.

        Waits until a worker has taken the task up. Raises `UnknownName` if nobody asked for it, and
        `Unavailable` if no worker takes it up.
        """
        status = await self._open(task)
        signal = self._record(Signal, id=id or new_id(), task=task, name=name, value=_json(value))
        await self._send("signals", task, signal, status.tenant)

    async def set_budget(self, task: str, budget: Budget) -> None:
        """Set the task's budget in total, from now on. A limit that is not given is unchanged."""
        await self.signal(task, BUDGET_SIGNAL, budget.model_dump(exclude_none=True))

    async def cancel(self, task: str, reason: str = "cancelled on request", *, force: bool = False) -> None:
        """Cancel a task, which may clean up and undo. With `force` it ends at once, without running its
        code."""
        status = await self._open(task)
        cancel = self._record(Cancel, id=new_id(), task=task, reason=reason, force=force)
        await self._send("signals", task, cancel, status.tenant)

    async def upload(
        self, task: str, source: Source, media_type: str = ANYTHING, tenant: str | None = None
    ) -> Blob:
        """Store bytes for a task, for example to `start` it with their reference in its input."""
        return await self._objects.put(task, tenant, source, media_type)

    def download(self, blob: Blob) -> AsyncIterator[bytes]:
        """Return the bytes of a blob. Raise `Permanent` if they are gone or have changed."""
        return self._objects.chunks(blob)

    async def _fitting(self, task: str, value: Any, tenant: str | None) -> Any:
        """Return the JSON value, or a reference to it if it is too large for a record."""
        body = to_json(value)
        if len(body) + ENVELOPE_BYTES <= self._settings.payload_bytes_max:
            return value
        return to_jsonable_python(await self._objects.put(task, tenant, body, JSON, "value"))

    async def _open(self, task: str) -> Status:
        """Return the status of a task that a worker has taken up and that has not ended."""
        status = await self._taken_up(task)
        if is_waiting(status):
            raise Unavailable(
                f"task {task!r} was submitted, but no worker has started it within {TAKEN_UP_S_MAX:g} s: "
                "start one with `segue worker APP`, then try again"
            )
        if status.state in ENDED:
            raise BadInput(f"task {task!r} has ended: it {ended_how(status)}")
        return status

    async def _taken_up(self, task: str, within_s: float = TAKEN_UP_S_MAX) -> Status:
        """Return the status as soon as a worker has published it, or its present state after some seconds."""
        waited_s = 0.0
        while is_waiting(status := await self.status(task)) and waited_s < within_s:
            await asyncio.sleep(POLL_S)
            waited_s += POLL_S
        return status

    async def _decided(self, task: str, within_s: float | None = None) -> Status | None:
        """Return the status; of an id that was rejected before, once a worker has seen the new request."""
        status = await self._status_or_none(task)
        if status is None or not is_waiting(status) or await self._table.get(task) is None:
            return status
        return await self._taken_up(task, min(within_s or TAKEN_UP_S_MAX, TAKEN_UP_S_MAX))

    def _record(self, kind: type[T], **fields: Any) -> T:
        try:
            record = kind(**fields)
            size = len(codec.encode(record))
        except ValidationError as error:
            raise BadInput(codec.describe(error)) from None
        except PydanticSerializationError as error:
            raise BadInput(f"JSON can't hold it: {error}") from None
        if size > self._settings.payload_bytes_max:
            raise BadInput(
                f"the value has {size:,} bytes, over SEGUE_PAYLOAD_BYTES_MAX, "
                f"{self._settings.payload_bytes_max:,}: "
                "store large data with `upload`, and pass the reference"
            )
        return record

    async def _send(self, topic: str, key: str, record: Record, tenant: str | None = None) -> Any:
        """Publish a record, wait until it is stored safely, and return its position."""
        producer, keys = await self._connected(), keys_of(self._settings)
        value, headers = enveloped(keys, topic, key.encode(), record, tenant)
        with broker_errors(self._settings):
            return await producer.send_and_wait(
                self._settings.topic(topic), key=key.encode(), value=value, headers=headers
            )

    async def _connected(self) -> Any:
        """The producer. Topics must exist: Kafka's automatic ones would have the wrong partition count."""
        async with self._opening:
            if self._producer is None:
                async with Reader(self._settings) as reader:
                    reader.partitions("tasks")
                self._producer = await _started_producer(self._settings)
        return self._producer

    # ------------------------------------------------------------ out

    async def statuses(self) -> list[Status]:
        """Return the status of every task, the newest first. All are in memory: `each_status` holds only a
        few."""
        found = [status async for status in self.each_status()]
        return sorted(found, key=lambda status: status.started_ms, reverse=True)

    def each_status(self) -> AsyncGenerator[Status]:
        """Yield the status of every task, in no order, without holding all of them in memory."""
        return each_status(self._settings)

    async def status(self, task: str) -> Status:
        """Return a task's status: `queued` until a worker has started it. Raise `UnknownName` if there is
        none."""
        status = await self._status_or_none(task)
        if status is None:
            raise UnknownName(
                f"there is no task {task!r}: it was never submitted, or it ended more than a week ago"
            )
        return status

    async def _status_or_none(self, task: str) -> Status | None:
        return await self._requests.status(task, await self._table.get(task))

    async def result(self, task: str, timeout_s: float | None = None) -> Result:
        """Wait until the task has ended, however it ended. Raises `TimeoutError`.

        Raises `UnknownName` if it ended so long ago that its result is no longer kept.
        """
        async with Reader(self._settings) as reader:
            place, key = reader.partition_of("results", task), task.encode()
            starts = await reader.ends([place])
            status = await self._decided(task, timeout_s)
            if status is not None and status.state in ENDED:
                starts = await reader.at_time([place], status.at_ms - CLOCK_SKEW_MS)
                longest_s = CLOCK_SKEW_MS / 1000
                timeout_s = longest_s if timeout_s is None else min(timeout_s, longest_s)
            try:
                async with asyncio.timeout(timeout_s):
                    async for record in reader.tail(starts, key):
                        if _ends(record, status):
                            result: Result = codec.decode("results", record.value)
                            value = await whole(result.result, self._objects.of_task(task, result.tenant))
                            return result.model_copy(update={"result": value})
            except TimeoutError:
                raise _no_result(task, status, timeout_s) from None
        raise AssertionError("a tail has no end")

    async def history(self, task: str, run: int | None = None) -> list[Received]:
        """All records about a task, in the order of their time. Raises `UnknownName`.

        Where the log of an open task is no longer kept, its events are those of its journal. Of a task that
        went on anew they are those of its last run, or of `run`, with how the run after it begins.
        """
        status = await self.status(task)
        if is_waiting(status):
            return [as_record(status)]
        async with Reader(self._settings) as reader:
            history = History(self._settings, reader, status)
            return await (history.last_run() if run is None else history.run(run))

    async def follow(self, task: str) -> AsyncIterator[Received]:
        """The task's records so far, then each as it comes, up to its result.

        A task that no worker has taken up is waited for. Raises `UnknownName` if nobody asked for it.
        """
        async with Reader(self._settings) as reader:
            places, key = [reader.partition_of(topic, task) for topic in LOG_TOPICS], task.encode()
            ends = await reader.ends(places)
            status = await self._decided(task) or await self.status(task)
            if is_waiting(status):
                starts = await reader.at_time(places, status.started_ms - CLOCK_SKEW_MS)
                starts = {place: min(starts[place], ends[place]) for place in places}
                told = await records_of(task, reader, starts, ends)
            else:
                told = await History(self._settings, reader, status).up_to(ends)
            for record in told:
                yield record
                if _ends(record, status):
                    return
            async for record in reader.tail(ends, key):
                yield record
                if _ends(record, status):
                    return

    async def tokens(self, task: str, after: int | None = None) -> AsyncIterator[Piece]:
        """What the task's models write, while they write it, up to the task's end.

        Of a step that is asked with `stream`. `after` is the offset of the last piece that was seen. A task
        that no worker has taken up is waited for. Raises `UnknownName` if nobody asked for it.
        """
        status = await self.status(task)
        since_ms, ended = status.started_ms - CLOCK_SKEW_MS, status.state in ENDED
        async with Reader(self._settings) as reader:
            async for piece in listen(reader, task, since_ms, after, ended=ended):
                yield piece


async def _started_producer(settings: Settings) -> Any:
    producer: Any = AIOKafkaProducer(
        **settings.client_options(),
        enable_idempotence=True,
        linger_ms=0,
        request_timeout_ms=REQUEST_TIMEOUT_MS,
    )
    with broker_errors(settings):
        try:
            await producer.start()
        except BaseException:
            await producer.stop()
            raise
    return producer


def _json(value: Any) -> Any:
    """Return the value in JSON's types. Raise `BadInput` if it can't be represented in JSON."""
    value = jsonable(value)
    codec.json_of(value)
    return value


def _ends(record: Received, status: Status | None) -> bool:
    """Return whether this is the task's result, not the result of a request that was rejected before."""
    if record.topic != "results":
        return False
    began = status is not None and not is_waiting(status) and status.state != "rejected"
    return not began or codec.decode("results", record.value).outcome != "rejected"


def _no_result(task: str, status: Status | None, timeout_s: float | None) -> Exception:
    if status is not None and status.state in ENDED:
        return UnknownName(
            f"task {task!r} {ended_how(status)}, but its result is older than `results` keeps records"
        )
    taken_up = status is not None and not is_waiting(status)
    where = f"it was {status.state} before" if status and taken_up else "no worker had taken it up before"
    return TimeoutError(f"task {task!r} has not ended within {timeout_s:g} s; {where}")
