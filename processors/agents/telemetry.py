"""Keep the spans and metrics of agents' runs to what happens for the first time.

A task that is rebuilt plays its workflow again, and with it the runs of agents. Where a span or a request
ends, Pydantic AI asks whether that is played again: then it reports nothing. A span that began in what is
played again, and ends later, is reported once, when it ends.

The engine knows at each moment whether it plays again, so it tells that, and does not count durable units
(`record_durable_unit`): by that count a run whose last step was answered before the rebuild, and which ends
after it, would never be reported.
"""

from collections.abc import Awaitable, Callable
from typing import Any

from pydantic_ai.durable_exec import replay_scope


async def reported_once(is_silent: Callable[[], bool], workflow: Awaitable[Any]) -> Any:
    """The workflow, whose agents report what is not played again."""
    with replay_scope(is_replaying=is_silent):
        return await workflow
