"""Reports where open tasks resume when this worker takes their partition."""

import logging
from collections.abc import Callable, Iterable
from typing import Protocol, runtime_checkable

from segue.processors.tasks.resumption import Resumed
from segue.topics.descriptions import is_ctrl_c
from segue.topics.flow import Stage

log = logging.getLogger(__name__)

Report = Callable[[Resumed], None]


@runtime_checkable
class Resumes(Protocol):
    """The stage `conduct`, imported only by workers that run it."""

    def resumed(self, now_ms: int) -> Iterable[Resumed]: ...


def log_resumed(task: Resumed) -> None:
    log.info(task.text)


def report_resumed(report: Report, stage: Stage, now_ms: int) -> None:
    """Report the first tasks of a partition. A failure is logged: it shows again when the task goes on."""
    assert isinstance(stage, Resumes)
    try:
        for task in stage.resumed(now_ms):
            report(task)
    except BaseException as bug:
        if is_ctrl_c(bug):
            raise
        log.exception("reporting where a task resumes failed")
