"""Whose a task is: what conduct decides about it is sealed with the key of the task's tenant.

The record that caused it need not say so: a signal comes from whoever sent it, with a header that is missing
or wrong. What counts is how the task began, or, once it has ended, the mark that it left.
"""

from segue.processors.tasks.task_cache import TaskCache
from segue.processors.tasks.tombstones import Tombstones
from segue.topics.flow import Decision
from segue.topics.records import Event, Submitted


def on_behalf_of_its_tenant(
    decision: Decision, event: Event | str, cached: TaskCache, tombstones: Tombstones, now_ms: int
) -> Decision:
    """Name the tenant in the decision on an event, or on the task with that id, unless it names one already.

    Of an id that nobody knows, the header of the record counts.
    """
    if decision.tenant is None and (decision.publish or decision.write):
        task = event if isinstance(event, str) else event.task
        known = cached.tenant_of(task)
        known = tombstones.tenant_of(task, now_ms) if known is None else known
        if known is None and isinstance(event, Submitted):
            known = event.tenant or ""
        decision.tenant = known
    return decision
