"""Requests that no worker has taken up yet: a task is known from the moment at which somebody asked for it.

    start ─▶ tasks ─▶ (a worker) ─▶ status
             └─ read here, where `status` does not tell of the task yet

A client remembers its own requests. Those of others are looked for on `tasks`, where they stay for a week.
For at least a week `status` tells of every task that was taken up, so a request without a status waits.
"""

import time
from collections import OrderedDict
from typing import Any, NamedTuple

from segue.processors.tasks.tombstones import REMEMBERED_MS
from segue.streams.kafka.reader import Reader
from segue.streams.settings import Settings
from segue.topics import codec
from segue.topics.contracts import DAY_MS
from segue.topics.errors import BadRecord, NotAllowed
from segue.topics.flow import Received
from segue.topics.records import Status, TaskRequest

TAKEN_UP_S_MAX = 10.0
"""A worker takes a task up within milliseconds, but for those before it."""

OWN_MAX = 10_000
"""Requests that a client remembers; older ones are looked for on `tasks`."""

SEARCHED_MAX = 10_000
"""Records of the partition of `tasks` that are looked at, from its end."""

NOT_BEGUN = -1
"""The offset in the status of a task that no worker has taken up: its log does not begin anywhere yet."""


class _Own(NamedTuple):
    status: Status
    until_s: float
    """Until then an older rejection of the same id is not taken for the answer to this request."""


class Requests:
    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._own: OrderedDict[str, _Own] = OrderedDict()

    def sent(self, request: TaskRequest, task: str, partition: int, at_ms: int) -> None:
        """Remember a request of this client's own."""
        self._own[task] = _Own(_waiting(request, task, partition, at_ms), time.monotonic() + TAKEN_UP_S_MAX)
        self._own.move_to_end(task)
        if len(self._own) > OWN_MAX:
            self._own.popitem(last=False)

    async def status(self, task: str, told: Status | None) -> Status | None:
        """Return where the task stands: as a worker `told`, or that it waits; None if nobody asked for it."""
        own = self._own.get(task)
        if told is None:
            return own.status if own is not None else await self._found_if_allowed(task)
        if own is not None and _is_older(told, own):
            return own.status
        self._own.pop(task, None)
        return told

    async def _found_if_allowed(self, task: str) -> Status | None:
        """Who may not read `tasks` knows its own requests alone."""
        try:
            return await self._found(task)
        except NotAllowed:
            return None

    async def _found(self, task: str) -> Status | None:
        async with Reader(self._settings) as reader:
            if not reader.exists("tasks"):  # a principal that may not describe it does not see it
                return None
            place = reader.partition_of("tasks", task)
            ends = await reader.ends([place])
            since_ms = time.time_ns() // 1_000_000 - REMEMBERED_MS + DAY_MS
            starts = await reader.at_time([place], since_ms)
            start = {place: min(ends[place], max(starts[place], ends[place] - SEARCHED_MAX))}
            async for record in reader.read(start, ends):
                if (request := self._request(record, task)) is not None:
                    return _waiting(request, task, record.partition, record.timestamp_ms)
        return None

    def _request(self, record: Received, task: str) -> TaskRequest | None:
        """Return the request that the record is, if it is one for this task."""
        value = record.value or b""
        if record.key != task.encode() or len(value) > self._settings.payload_bytes_max:
            return None
        try:
            request: TaskRequest = codec.decode("tasks", value)
        except BadRecord:
            return None
        return request if request.id in (None, task) else None


def is_waiting(status: Status) -> bool:
    """Return whether no worker has taken the task up yet."""
    return status.offset == NOT_BEGUN


def as_record(status: Status) -> Received:
    key, value = status.task.encode(), codec.encode(status)
    return Received("status", status.partition, NOT_BEGUN, key, value, (), status.at_ms)


def _waiting(request: TaskRequest, task: str, partition: int, at_ms: int) -> Status:
    told: dict[str, Any] = {"workflow": request.workflow, "version": request.version or 0}
    told |= {"tenant": request.tenant, "budget": request.budget, "started_ms": at_ms, "at_ms": at_ms}
    return Status(task=task, state="queued", partition=partition, offset=NOT_BEGUN, **told)


def _is_older(told: Status, own: _Own) -> bool:
    """Return whether the id was rejected before this request, which may begin."""
    if told.state != "rejected" or told.at_ms >= own.status.at_ms:
        return False
    return time.monotonic() < own.until_s
