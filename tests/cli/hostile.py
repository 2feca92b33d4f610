"""Tasks, answers and letters by somebody who means harm: escape sequences, markup and forged lines.

(Control characters are not allowed in ids of tasks; they may be C1 controls and direction marks.)
"""

from typing import Any

from segue import App, Task, workflow
from segue.topics import codec
from segue.topics.flow import Received
from segue.topics.parts import Spent
from segue.topics.records import (
    Answered,
    AttemptFailed,
    CallTool,
    CancelRequested,
    Given,
    Option,
    Origin,
    Problem,
    Question,
    QuestionClosed,
    Record,
    Result,
    SignalReceived,
    Status,
    StepFailed,
    Submitted,
)

MARKUP = "a[/b] [link=http://evil]x[/link] [red]"
HOSTILE = f"{MARKUP}\x9b31m\x9d52;c;aGk=\x9c\u202e]52;c;aGk=\u200b\u2066\U000e0041\u2028FORGED"
"""What may stand in an id."""

LINES = f"{HOSTILE}\x1b]52;c;aGk=\x07\x1b[2J\rFORGED\nFORGED\x7f\x08\x00\x0b\x85FORGED"
"""What may stand anywhere else."""


@workflow
async def anything(task: Task, given: str) -> str:
    return given


app = App("hostile", workflows=[anything])


def question(task: str) -> Question:
    options = (Option(label=LINES, value=LINES), Option(label="b", value="b"))
    return Question(task=task, step=0, workflow=LINES, to=LINES, text=LINES, options=options, at_ms=1)


def statuses() -> list[Status]:
    facts: dict[str, Any] = {"workflow": LINES, "version": 1, "partition": 0, "offset": 0}
    facts |= {"started_ms": 1, "at_ms": 2, "spent": Spent(usd=1, calls=1)}
    told: dict[str, Any] = {"tenant": HOSTILE.replace("/", "|")[:100], "view": {LINES: LINES}}
    bad = Problem(type=LINES, message=LINES, traceback=LINES)
    return [
        Status(task=MARKUP, state="waiting", questions=(question(MARKUP),), **facts, **told),
        Status(task=HOSTILE, state="running", **facts, **told),
        Status(task=HOSTILE + "2", state="parked", problem=bad, **facts, **told),
    ]


def records(task: str) -> list[tuple[str, Record]]:
    origin = Origin(topic="signals", partition=0, offset=0)
    bad = Problem(type=LINES, message=LINES, traceback=LINES)
    call = CallTool(
        task=task, step=1, fingerprint="p", workflow=LINES, route=LINES, arguments={LINES: LINES}, at_ms=2
    )
    answer = Given(id=LINES, value=LINES, by=LINES)
    late = Answered(task=task, id="late", step=0, value=LINES, by=LINES, origin=origin, at_ms=4)
    signal = SignalReceived(task=task, id="s", name=LINES, value=LINES, origin=origin, at_ms=5)
    gave_up = StepFailed(
        task=task, step=1, fingerprint="p", problem=bad, route=LINES, candidate=LINES, at_ms=6
    )
    return [
        ("events", Submitted(task=task, workflow=LINES, version=1, input=LINES, at_ms=1)),
        ("questions", question(task)),
        ("questions", QuestionClosed(task=task, step=0, reason="answered", answer=answer, at_ms=3)),
        ("events", late),
        ("tool-calls", call),
        ("failures", AttemptFailed(task=task, call=call, candidate=LINES, problem=bad, at_ms=4)),
        ("events", gave_up),
        ("events", signal),
        ("events", CancelRequested(task=task, id="c", reason=LINES, at_ms=7)),
        ("status", statuses()[1].model_copy(update={"task": task})),
        (
            "results",
            Result(
                task=task,
                workflow=LINES,
                outcome="failed",
                result={LINES: LINES},
                problem=bad,
                started_ms=1,
                at_ms=9,
            ),
        ),
    ]


def played(task: str) -> list[Received]:
    return [
        Received(topic, 0, number, task.encode(), codec.encode(record), (), number)
        for number, (topic, record) in enumerate(records(task))
    ]


def letters() -> list[Received]:
    why = tuple(
        (f"segue-{name}", LINES.encode()) for name in ("reason", "stage", "topic", "task", "partition")
    )
    return [Received("dead-letters", 0, 0, HOSTILE.encode(), LINES.encode(), (*why, (LINES, b"x")), 1)]
