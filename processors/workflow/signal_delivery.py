"""Delivers signals to the steps that wait for them, and keeps those that nobody waits for yet."""

from segue.processors.routing.budget import BUDGET_SIGNAL
from segue.processors.workflow.budget_guard import set_by_signal
from segue.processors.workflow.context import ExecutionContext
from segue.processors.workflow.state.signals import fitted, refused
from segue.processors.workflow.state.step import Step
from segue.topics.errors import BadInput
from segue.topics.records import SignalReceived


def deliver(context: ExecutionContext, signal: SignalReceived) -> None:
    """Give the signal to the step that has waited longest for its name, or keep it."""
    if signal.name == BUDGET_SIGNAL:
        set_by_signal(context, signal.value)
    elif (step := context.signals.awaiting(signal.name)) is None:
        context.signals.keep(signal)
    else:
        _give(context, step, signal)


def expect(context: ExecutionContext, step: Step) -> None:
    """Give the step the earliest signal of its name that fits and nobody took, or the next to come."""
    while (kept := context.signals.take(step.name)) is not None:
        if _give(context, step, kept):
            return
    context.signals.wait(step)


def _give(context: ExecutionContext, step: Step, signal: SignalReceived) -> bool:
    """Whether the step took the signal; one that does not fit is a dead letter."""
    try:
        value = fitted(context.accepted, step, signal)
    except BadInput as misfit:
        letter = refused(signal, str(misfit), context.now_ms)
        context.commands += [] if context.closed else [letter]
        return False
    context.steps.settle(step, value)
    return True
