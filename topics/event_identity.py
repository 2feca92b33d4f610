"""The identity of a task's event: a redelivered event is known by it, and changes nothing."""

from segue.topics.records import (
    Admitted,
    Answered,
    CancelRequested,
    Event,
    PutAside,
    Rejected,
    SignalReceived,
    StepFailed,
    StepSucceeded,
    Submitted,
    TimerFired,
)


def identity_of(event: Event) -> str:
    """What makes two events the same one."""
    match event:
        case StepSucceeded() | StepFailed():
            return f"{event.step}/{event.attempt}/{event.kind}"
        case TimerFired():
            return f"{event.step}/timer"
        case Answered() | SignalReceived() | CancelRequested() | PutAside():
            return f"{event.kind} {event.id}"  # whoever chose the id must not hit upon a step's
        case Submitted() | Rejected() | Admitted():
            return event.kind
