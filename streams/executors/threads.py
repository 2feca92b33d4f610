"""Blocking functions of users, each called in a thread of its own.

Not in the event loop's pool, which Segue's own work shares and a few calls that hang would fill. So many run
at once in a worker and no more: with more a call waits for a thread, while its time-out runs. A thread can't
be stopped, so a function that hangs keeps its thread after its time-out.
"""

import asyncio
import logging
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import suppress
from contextvars import copy_context
from threading import Thread
from typing import Any

from segue.streams.observability.log_throttle import LogThrottle
from segue.topics.errors import in_words

log = logging.getLogger(__name__)
log.addFilter(LogThrottle())

THREADS_MAX = 2_000
"""Each takes some 20 KB of memory and 8 MB of addresses, and all share one interpreter lock."""


class Threads:
    def __init__(self, most: int = THREADS_MAX) -> None:
        self._most = most
        self._free = asyncio.Semaphore(most)

    async def call(self, function: Callable[..., Any], arguments: dict[str, Any]) -> Any:
        """Return what the function returns, or raise what it raises; it has the caller's context variables.

        If this is cancelled the function goes on, and nobody learns what it came to. The end of the process
        does not wait for it.
        """
        if self._free.locked():
            log.warning("all %d threads for blocking functions are taken: %r waits", self._most, function)
        await self._free.acquire()
        loop = asyncio.get_running_loop()
        outcome: Future[Any] = Future()
        outcome.set_running_or_notify_cancel()

        def end() -> None:
            with suppress(RuntimeError):  # the loop has ended before the function
                loop.call_soon_threadsafe(self._free.release)

        try:
            _started(function, arguments, outcome, end)
        except BaseException:
            self._free.release()
            raise
        return await asyncio.wrap_future(outcome)


def _started(
    function: Callable[..., Any], arguments: dict[str, Any], outcome: Future[Any], end: Callable[[], None]
) -> None:
    context = copy_context()

    def call() -> None:
        try:
            outcome.set_result(context.run(function, **arguments))
        except (StopIteration, GeneratorExit) as error:  # which no future may raise: they end who awaits it
            stopped = RuntimeError(f"the function raised {in_words(error)}")
            stopped.__cause__ = error
            outcome.set_exception(stopped)
        except BaseException as error:  # noqa: BLE001 - it is raised where it is waited for
            outcome.set_exception(error)
        finally:
            end()

    Thread(target=call, name=function.__name__, daemon=True).start()
