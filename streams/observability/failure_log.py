"""Says in a worker's log what failed, a line each: attempts, tasks that failed or are parked, dead letters.

For whoever looks at a log first. It says no more than a person reads; all of it stands on the topics, and
how much of it in the metrics. Where records are encrypted the log does not tell what they say.
"""

import logging
import time
from collections.abc import Iterable

from segue.topics.flow import Publish
from segue.topics.records import AttemptFailed, Problem, Result, Status

log = logging.getLogger(__name__)

LINES_MAX = 20
"""In so many seconds: what fails, fails often."""

PER_S = 10.0

TOPICS = frozenset({"failures", "results", "status", "dead-letters"})


class FailureLog:
    """One of each stage. `sealed`: records are encrypted."""

    def __init__(self, *, sealed: bool) -> None:
        self._sealed = sealed
        self._until_s = 0.0
        self._lines = 0

    def published(self, stage: str, records: Iterable[Publish]) -> None:
        """Call it after the commit."""
        for record in records:
            if record.topic in TOPICS and (line := self._line(stage, record)) is not None and self._may():
                log.log(*line)

    def _line(self, stage: str, publish: Publish) -> tuple[int, str] | None:
        match publish.value:
            case AttemptFailed(call=call) as failure:
                level = logging.WARNING if failure.problem.traceback else logging.INFO
                step = f"step {call.step}, {call.route!r} by {failure.candidate}, attempt {call.attempt}"
                return level, self._why(f"task {call.task}: {step} failed", failure.problem)
            case Result(outcome="failed", problem=Problem() as problem) as result:
                return logging.WARNING, self._why(
                    f"task {result.task} of {result.workflow!r} failed", problem
                )
            case Status(state="parked", problem=Problem() as problem) as status:
                return logging.WARNING, self._why(
                    f"task {status.task} of {status.workflow!r} is parked", problem
                )
            case bytes():
                reason = dict(publish.headers).get("segue-reason", b"").decode(errors="replace")
                told = "" if self._sealed else f": {reason}"
                return (
                    logging.WARNING,
                    f"stage {stage} put a record of {publish.key!r} into the dead letters{told}",
                )
            case _:
                return None

    def _why(self, what: str, problem: Problem) -> str:
        if self._sealed:
            return f"{what}: {problem.type}"
        traceback = f"\n{problem.traceback.rstrip()}" if problem.traceback else ""
        return f"{what}: {problem.message}{traceback}"

    def _may(self) -> bool:
        now_s = time.monotonic()
        if now_s >= self._until_s:
            if self._lines > LINES_MAX:
                log.warning("%d more failures are not logged", self._lines - LINES_MAX)
            self._until_s, self._lines = now_s + PER_S, 0
        self._lines += 1
        return self._lines <= LINES_MAX
