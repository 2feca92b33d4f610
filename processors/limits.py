"""Limits of running tasks and of memory.

Each limit is a setting (`SEGUE_` and its name in capitals), but for those of a call, which are the policy of
its route. A limit that a task carries (`steps_max`, `pending_steps_max`) is that of when it was submitted.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from segue.topics.parts import Budget
from segue.topics.records import PENDING_STEPS_MAX, STEPS_MAX

RUNNING_TASKS_MAX = 4_000
"""The most running tasks of a partition. With the default of 4 partitions, a worker keeps more than 10,000
calls in flight."""

CACHED_TASKS_MAX = 5_000
"""Coroutines kept in memory for each partition (about 10 KB each); the least recently used leave first."""

BUFFERED_SIGNALS_MAX = 1_000

EVERYBODY = "*"


@dataclass(frozen=True)
class Limits:
    """The limits that the stages apply."""

    running_tasks_max: int = RUNNING_TASKS_MAX
    """Tasks of a partition with calls in flight. At this number, other tasks wait for their turn."""

    cached_tasks_max: int = CACHED_TASKS_MAX
    """Coroutines of a partition in memory."""

    steps_max: int = STEPS_MAX
    """Steps of a task, from its beginning to its end."""

    pending_steps_max: int = PENDING_STEPS_MAX
    """Calls and children of a task that have no outcome yet."""

    buffered_signals_max: int = BUFFERED_SIGNALS_MAX
    """Signals kept for a task that it has not asked for."""

    open_tasks_per_tenant_max: int | None = None
    """Tasks of a tenant in a partition that have begun and not ended, without children: more wait."""

    waiting_tasks_per_tenant_max: int | None = None
    """Tasks of a tenant in a partition that wait for their turn, without children: more are rejected."""

    budgets: Mapping[str, Budget] = field(default_factory=dict[str, Budget])
    """The budget of each task, by tenant; `*` is for all other tenants."""

    def budget(self, tenant: str | None) -> Budget | None:
        return self.budgets.get(tenant or EVERYBODY) or self.budgets.get(EVERYBODY)


LIMITS = Limits()
"""The default limits."""
