"""Keeps a worker running whatever user code raises: an exit is a failure of what was called, no more.

A `sys.exit()` in a tool would stop one worker after the other, each time that its call is made again. In a
coroutine that a stage awaits it is caught there. From an asyncio task that a tool has started itself, asyncio
hands it through the event loop to whoever runs that: see `WorkerLoop`.
"""

import asyncio
import logging
from collections.abc import Awaitable, Generator
from typing import Any, TypeVar, cast

from segue.topics.descriptions import is_ctrl_c

T = TypeVar("T")

log = logging.getLogger(__name__)


def raise_if_ours(error: BaseException) -> None:
    """Lets through what is meant for the runner: its own cancellation, and a person's Ctrl-C.

    A `CancelledError` that nobody asked of this task, a tool's `sys.exit()` or its own `KeyboardInterrupt`,
    which would stop one worker after the other, is a failure like any other. So is `GeneratorExit`: a
    coroutine that is closed awaits nothing more after it.
    """
    task = asyncio.current_task()
    cancelled = isinstance(error, asyncio.CancelledError) and task is not None and task.cancelling() > 0
    if cancelled or is_ctrl_c(error):
        raise error


class WorkerLoop(asyncio.SelectorEventLoop):
    """Runs on where a task that user code has started exits: whoever awaits that task is told."""

    _main: "asyncio.Future[Any] | None" = None

    def run_until_complete(self, future: Generator[Any, None, T] | Awaitable[T]) -> T:
        main = asyncio.ensure_future(cast("Awaitable[T]", future), loop=self)
        self._main = main
        return super().run_until_complete(main)

    def run_forever(self) -> None:
        while True:
            try:
                return super().run_forever()
            except (KeyboardInterrupt, SystemExit) as error:
                if is_ctrl_c(error) or self._main is None or self._main.done():
                    raise
                log.warning("code in a task of its own raised %s: the worker goes on", type(error).__name__)
