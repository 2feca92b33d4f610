"""A workflow's log: silent while the task is rebuilt, so that each line is written once."""

import logging
from collections.abc import Callable
from typing import Any


class TaskLog(logging.LoggerAdapter[logging.Logger]):
    """Writes to the logger `segue.workflow.NAME`; each record has `task` and `workflow` as attributes."""

    def __init__(self, task: str, workflow: str, is_silent: Callable[[], bool]) -> None:
        super().__init__(
            logging.getLogger(f"segue.workflow.{workflow}"), {"task": task, "workflow": workflow}
        )
        self._is_silent = is_silent

    def isEnabledFor(self, level: int) -> bool:  # noqa: N802 - the library's name
        return not self._is_silent() and super().isEnabledFor(level)

    def process(self, msg: Any, kwargs: Any) -> tuple[Any, Any]:
        """What the caller gives as `extra` stays."""
        given: dict[str, Any] = kwargs.get("extra") or {}
        return msg, {**kwargs, "extra": {**given, **(self.extra or {})}}
