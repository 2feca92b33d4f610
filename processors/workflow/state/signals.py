"""The signals of a run: who waits for one, and those that nobody took yet.

    SignalReceived ─┬▶ the step that has waited longest for that name
                    ├▶ kept, until a step asks for that name
                    └▶ dead-letters, where that step wants another type; it goes on waiting

What does not fit a step that waits is refused before it is on the task's log, as an answer is. Of what is
kept nobody can tell until a step asks: then what does not fit is taken off, and the next one is tried.
"""

from collections import deque
from collections.abc import Callable
from typing import Any

from pydantic import ValidationError

from segue.processors.payloads.blob import unmarked
from segue.processors.workflow.state.step import Step
from segue.topics import codec
from segue.topics.errors import BadInput
from segue.topics.flow import Publish, Received, dead_letter
from segue.topics.records import Answered, CancelRequested, Delay, Signal, SignalReceived

EARLY_MS = 2_000
"""A signal that comes before its task waits so long, once: `tasks` and `signals` are read side by side."""

Accepted = Callable[[Step, Any, SignalReceived], Any]
"""What a step makes of a signal's value."""


class Signals:
    """Keeps and hands over; `holds` is how many came that no step has asked for."""

    def __init__(self) -> None:
        self.holds = 0
        self._waiting: dict[str, deque[Step]] = {}
        self._kept: dict[str, deque[SignalReceived]] = {}

    @property
    def buffered(self) -> tuple[SignalReceived, ...]:
        """Those of a name in the order in which they came."""
        return tuple(signal for kept in self._kept.values() for signal in kept)

    def awaiting(self, name: str) -> Step | None:
        """The step that gets the next signal of that name."""
        waiting = self._waiting.get(name, deque())
        while waiting and waiting[0].future.done():
            waiting.popleft()
        return waiting[0] if waiting else None

    def objection(self, signal: SignalReceived, accepted: Accepted) -> str | None:
        """Why the step that it is for can't take it; None if it can, or there is none yet."""
        step = self.awaiting(signal.name)
        try:
            if step is not None:
                fitted(accepted, step, signal)
        except BadInput as misfit:
            return str(misfit)
        return None

    def wait(self, step: Step) -> None:
        self._waiting.setdefault(step.name, deque()).append(step)

    def keep(self, signal: SignalReceived) -> None:
        self._kept.setdefault(signal.name, deque()).append(signal)
        self.holds += 1

    def take(self, name: str) -> SignalReceived | None:
        """The earliest of that name that nobody took."""
        kept = self._kept.get(name)
        if not kept:
            return None
        self.holds -= 1
        return kept.popleft()


def fitted(accepted: Accepted, step: Step, signal: SignalReceived) -> Any:
    """The value as the step takes it. Raises `BadInput`, in words for the one who sent it."""
    try:
        return accepted(step, signal.value, signal)
    except (ValidationError, BadInput) as error:
        told = f"signal {signal.name!r} does not fit what the task waits for: {codec.explain(error)}"
        raise BadInput(told) from None


def refused(signal: SignalReceived, reason: str, now_ms: int) -> Publish:
    """The dead letter of a signal that was kept, as it stood where it came from."""
    sent = Signal(id=signal.id, task=signal.task, name=signal.name, value=unmarked(signal.value))
    key, value = signal.task.encode(), codec.encode(sent)
    stood = Received(**signal.origin.model_dump(), key=key, value=value, headers=(), timestamp_ms=now_ms)
    return dead_letter(stood, "conduct", reason, now_ms, signal.task)


def once_more(event: Answered | SignalReceived | CancelRequested, now_ms: int) -> Delay:
    later = event.model_copy(update={"early": True})
    name = f"{event.kind} {event.id}"  # timers are named by numbers, which a signal's id may be too
    return Delay(task=event.task, id=name, due_ms=now_ms + EARLY_MS, topic="events", record=later)
