"""Give Pydantic AI the task's clock and the task's randomness wherever it runs within a workflow.

Pydantic AI stamps messages and parts by `datetime.now`, and names tool calls, runs and conversations by
random UUIDs. Its surface for durable engines replaces the clock of deadlines and the id of a run, and nothing
else. So both sources are replaced where Pydantic AI reads them. Outside of a workflow nothing changes.

`tests/processors/test_agent_values.py` compares whole results after crashes, so it fails if a later version
of Pydantic AI reads another clock.
"""

from collections.abc import Callable
from datetime import datetime, timedelta, tzinfo
from types import SimpleNamespace
from typing import Any, cast

from pydantic_ai import _agent_graph, _enqueue, _model_request_attempts, _utils, agent, conversation
from pydantic_ai._model_request_attempts import AttemptStart

from segue.processors.workflow.context import CURRENT_CONTEXT


class _TaskTime(datetime):
    """A `datetime` whose `now` is the task's within a workflow."""

    @classmethod
    def now(cls, tz: tzinfo | None = None) -> datetime:  # type: ignore[override]
        playing = CURRENT_CONTEXT.get(None)
        return datetime.now(tz) if playing is None else playing.now().astimezone(tz)


def _by_task(outside: Callable[[], Any]) -> Callable[[], Any]:
    """`outside`, which draws a UUID, but from the task's randomness within a workflow."""
    uuid = cast("Callable[..., Any]", type(outside()))

    def drawn() -> Any:
        playing = CURRENT_CONTEXT.get(None)
        return outside() if playing is None else uuid(int=playing.library_random.getrandbits(128), version=4)

    return drawn


def _replace(module: Any, **replaced: object) -> None:
    """Set names that the module has; an unknown name raises `AttributeError`."""
    for name, value in replaced.items():
        getattr(module, name)
        setattr(module, name, value)


def _by_task_time(outside: Callable[[AttemptStart], timedelta]) -> Callable[[AttemptStart], timedelta]:
    """`outside`, but by the task's clock, which stamped the start, within a workflow."""

    def elapsed(start: AttemptStart) -> timedelta:
        playing = CURRENT_CONTEXT.get(None)
        return outside(start) if playing is None else playing.now() - start.timestamp

    return elapsed


def install() -> None:
    """Replace the clock and the ids. Called once, when the module of durable agents is imported."""
    modules: Any = _utils, _model_request_attempts, agent
    utils, attempts, agents = modules
    _replace(utils, datetime=_TaskTime, uuid=SimpleNamespace(uuid4=_by_task(utils.uuid.uuid4)))
    _replace(attempts, datetime=_TaskTime)
    _replace(AttemptStart, elapsed=_by_task_time(AttemptStart.elapsed))
    for module in cast("tuple[Any, ...]", (_agent_graph, _enqueue, conversation)):
        _replace(module, uuid7=_by_task(module.uuid7))
    _replace(agents, uuid4=_by_task(agents.uuid4))
