"""Whose tasks signals are for, so that what `intake` makes of them is sealed with the tenant's key.

    signals ─▶ does its header name a tenant with keys? ─ no ─▶ look the task up ─▶ segue-tenant ─▶ intake
                                                                │
                                            its last status, or its request on `tasks`

Segue's own client names the tenant. Other producers may not, and `intake` knows no tasks. The records of
the topic `status` bear the tenant in a header, so they need not be opened: what is new there is read when a
signal comes, and of tasks whose tenant has keys of its own the tenant is remembered. A task that has no
status yet is looked for among the last requests on all partitions of `tasks`, whichever worker reads them.
"""

import sys
from collections import OrderedDict
from collections.abc import Callable
from functools import partial
from typing import Protocol

from pydantic import BaseModel, ValidationError

from segue.streams.client.status_table import TopicLog
from segue.streams.kafka.consumer_group import Batch
from segue.streams.security.encryption import Keys, keys_of
from segue.streams.settings import Settings
from segue.topics.envelope import is_sealed
from segue.topics.flow import TENANT, Received, of_tenant, tenant_in

REQUESTS_MAX = 10_000
"""Requests of tenants with keys that are remembered, and records of a partition of `tasks` that are read."""


Keep = Callable[[Received], None]


class Follows(Protocol):
    """As `TopicLog` does."""

    async def catch_up(self, task: str | None = None) -> None: ...

    async def close(self) -> None: ...


class Tenants:
    """The tenants of tasks, if they have keys of their own."""

    def __init__(
        self, keys: Keys, status: Callable[[Keep], Follows], tasks: Callable[[Keep], Follows]
    ) -> None:
        self._keys = keys
        self._of: dict[bytes, str] = {}
        self._asked: OrderedDict[bytes, str] = OrderedDict()
        self._status = status(self._keep)
        self._requests = tasks(self._remember)

    async def named(self, batch: Batch) -> Batch:
        """The batch, with the tenant of its task in the header of each signal that does not name it."""
        if not self._keys.tenants:
            return batch
        return {place: [await self._named(record) for record in records] for place, records in batch.items()}

    async def close(self) -> None:
        await self._status.close()
        await self._requests.close()

    async def _named(self, record: Received) -> Received:
        if record.topic != "signals" or tenant_in(record.headers) in self._keys.tenants:
            return record
        task = _task_of(record)
        if (tenant := await self._tenant_of(task)) is None:
            return record
        others = tuple(header for header in record.headers if header[0] != TENANT)
        return record._replace(headers=(*others, *of_tenant(tenant)))

    async def _tenant_of(self, task: bytes) -> str | None:
        await self._status.catch_up(task.decode(errors="replace"))
        if task in self._of:
            return self._of[task]
        await self._requests.catch_up()
        return self._asked.get(task)

    def _remember(self, request: Received) -> None:
        body = _Named.read(request)
        if body.tenant is not None and body.tenant in self._keys.tenants:
            self._asked[(body.id or "").encode() or request.key or b""] = body.tenant
            if len(self._asked) > REQUESTS_MAX:
                self._asked.popitem(last=False)

    def _keep(self, status: Received) -> None:
        key, tenant = status.key or b"", tenant_in(status.headers)
        if is_sealed(status.value) and tenant is not None and tenant in self._keys.tenants:
            self._of[key] = sys.intern(tenant)
        else:
            self._of.pop(key, None)


class _Named(BaseModel):
    """What a record from outside says of whom it is about, whatever is wrong with the rest."""

    id: str | None = None
    task: str | None = None
    tenant: str | None = None

    @classmethod
    def read(cls, record: Received) -> "_Named":
        try:
            return cls.model_validate_json(record.value or b"")
        except ValidationError:
            return cls()


def _task_of(signal: Received) -> bytes:
    task = _Named.read(signal).task
    return (signal.key or b"") if task is None else task.encode()


def tenants_for(settings: Settings, stage: str) -> Tenants | None:
    """Only `intake` needs them, where there are keys."""
    keys = keys_of(settings)
    if stage != "intake" or keys is None:
        return None
    sealed = settings.model_copy(update={"encryption_keys": None})
    status = partial(TopicLog, sealed, "status")
    return Tenants(keys, status, partial(TopicLog, settings, "tasks", recent=REQUESTS_MAX))
