"""Blocking functions of users, each called in a thread of its own.

Not in the event loop's pool, which Segue's own work shares and a few calls that hang would fill. A stage
makes so many calls at once and no more, so that threads need no bound of their own.
"""

import asyncio
from collections.abc import Callable
from concurrent.futures import Future
from contextvars import copy_context
from threading import Thread
from typing import Any

from segue.topics.errors import in_words


async def in_thread(function: Callable[..., Any], arguments: dict[str, Any]) -> Any:
    """What the function returns or raises, called with the caller's context variables.

    A thread can't be stopped: if this is cancelled the function goes on, and nobody learns what it came to.
    The end of the process does not wait for it.
    """
    context = copy_context()
    outcome: Future[Any] = Future()
    outcome.set_running_or_notify_cancel()

    def call() -> None:
        try:
            outcome.set_result(context.run(function, **arguments))
        except (StopIteration, GeneratorExit) as error:  # which no future may raise: they end who awaits it
            stopped = RuntimeError(f"the function raised {in_words(error)}")
            stopped.__cause__ = error
            outcome.set_exception(stopped)
        except BaseException as error:  # noqa: BLE001 - it is raised where it is waited for
            outcome.set_exception(error)

    Thread(target=call, name=function.__name__, daemon=True).start()
    return await asyncio.wrap_future(outcome)
