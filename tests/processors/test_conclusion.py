"""What follows for a task from an event, by what is recorded of it and by its phase."""

from typing import Any

import pytest

from segue.processors.tasks.conclusion import Conclusion, Recorded, conclusion, digest_of
from segue.processors.tasks.status import StatusDigest
from segue.processors.workflow.completion import Completion, ContinueAsNew
from segue.processors.workflow.phases import Ended, Parked, Phase, Queued, Running
from segue.topics.records import Problem

KEY_ERROR = Problem(type="KeyError", message="no such key", retryable=False)
OTHER = Problem(type="KeyError", message="another key", retryable=False)
BY_KEY_ERROR = digest_of(KEY_ERROR)
AGAIN = ContinueAsNew("input", 1)

RUNNING = StatusDigest("running")
WAITING = StatusDigest("waiting", (3,))
PARKED = StatusDigest("parked")
QUEUED = StatusDigest("queued")
DONE = StatusDigest("succeeded")


def concluded(**changes: Any) -> Conclusion:
    nothing = Conclusion(parks=False, unparks=False, goes_on=None, ends=False, busy=False, tells=False)
    return nothing._replace(**changes)


@pytest.mark.parametrize(
    ("recorded", "phase", "stands", "calls_open", "expected"),
    [
        (Recorded(), Running(), RUNNING, True, concluded(busy=True, tells=True)),
        (Recorded(busy=True, published_status=RUNNING), Running(), RUNNING, True, concluded(busy=True)),
        (Recorded(busy=True, published_status=RUNNING), Running(), WAITING, False, concluded(tells=True)),
        (Recorded(published_status=QUEUED), Queued(), QUEUED, False, concluded()),
        (Recorded(busy=True, published_status=QUEUED), Queued(), QUEUED, False, concluded(busy=True)),
        (
            Recorded(busy=True, published_status=RUNNING),
            Parked(KEY_ERROR, []),
            PARKED,
            True,
            concluded(parks=True, tells=True),
        ),
        (Recorded(BY_KEY_ERROR, published_status=PARKED), Parked(KEY_ERROR), PARKED, True, concluded()),
        (
            Recorded(BY_KEY_ERROR, published_status=PARKED),
            Parked(OTHER),
            PARKED,
            True,
            concluded(parks=True, tells=True),
        ),
        (
            Recorded(BY_KEY_ERROR, published_status=PARKED),
            Running(),
            RUNNING,
            True,
            concluded(unparks=True, busy=True, tells=True),
        ),
        (
            Recorded(BY_KEY_ERROR, published_status=PARKED),
            Ended(Completion("succeeded")),
            DONE,
            False,
            concluded(unparks=True, ends=True, tells=True),
        ),
        (
            Recorded(busy=True, published_status=RUNNING),
            Ended(Completion("succeeded")),
            DONE,
            True,
            concluded(ends=True, tells=True),
        ),
        (
            Recorded(busy=True, published_status=RUNNING),
            Ended(Completion("succeeded", continue_as_new=AGAIN)),
            DONE,
            False,
            concluded(goes_on=AGAIN, tells=True),
        ),
    ],
)
def test_what_follows(
    recorded: Recorded, phase: Phase, stands: StatusDigest, calls_open: bool, expected: Conclusion
) -> None:
    assert conclusion(recorded, phase, stands, calls_open=calls_open) == expected
