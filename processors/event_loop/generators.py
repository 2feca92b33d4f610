"""The async generators of a workflow: closed once nothing refers to them, or else when their task ends.

    async for offer in offers():      break drops the generator: a task of the workflow's loop closes it, and
        break                         its `finally` may await steps

asyncio does the same. What differs is when: a generator that the garbage collector finds is kept until the
workflow ends, since the collector runs at other times in a replay. Reference counting does not.
"""

import asyncio
import collections.abc
import gc
from _thread import get_ident
from asyncio import events
from collections.abc import AsyncGenerator
from contextlib import contextmanager
from typing import Any, cast
from weakref import WeakValueDictionary

from segue.topics.descriptions import is_ctrl_c

Generator = AsyncGenerator[Any, Any]

CLOSED_AT_MOST = 10
"""A coroutine that awaits while it is closed is closed again, so often."""

_collecting: set[int] = set()
"""The threads in which the garbage collector runs."""


def _watch(phase: str, _: dict[str, int]) -> None:
    (_collecting.add if phase == "start" else _collecting.discard)(get_ident())


gc.callbacks.append(_watch)


@contextmanager
def collector_at_rest() -> collections.abc.Generator[None]:
    """Keep the collector from running by itself: it would at other times in a replay.

    A cycle that it takes apart may hold the last reference but one to a generator that is in use: that would
    then be closed at its next pause, and else at the workflow's end.
    """
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


class Generators:
    """Knows the generators of one loop by the number of their first iteration.

    `begin` and `drop` are the hooks that Python calls at the first iteration of a generator, and when nothing
    refers any more to one that has not ended.
    """

    def __init__(self) -> None:
        self._begun = 0
        self._numbers: dict[int, int] = {}
        self._owners: dict[int, int] = {}
        self._open: WeakValueDictionary[int, Generator] = WeakValueDictionary()
        self._kept: dict[int, Generator] = {}
        self._closing: dict[asyncio.Task[None], None] = {}
        self._at_end = False
        self._unwinding = False

    def begin(self, generator: Generator) -> None:
        self._open[self._begun] = generator
        self._numbers[id(generator)] = self._begun
        self._owners[self._begun] = hash(asyncio.current_task())
        self._begun += 1

    def drop(self, generator: Generator) -> None:
        loop: Any = events._get_running_loop()
        in_place = getattr(loop, "generators", None) is self and get_ident() not in _collecting
        if self._unwinding:
            if in_place:
                _close_now(generator)
        elif in_place and not self._at_end:
            closing = loop.create_task(_close(generator))
            self._closing[closing] = None
            closing.add_done_callback(self._closed)
        else:
            self._kept[self._numbers[id(generator)]] = generator

    def _closed(self, closing: asyncio.Task[None]) -> None:
        """What one raised is raised at the workflow's end, where the task still refers to it."""
        if closing.cancelled() or closing.exception() is None:
            self._closing.pop(closing, None)

    @property
    def any_left(self) -> bool:
        return bool(self._closing or self._kept or self._open)

    async def close(self) -> None:
        """Wait until those that were dropped are closed; then close the others, one after the other.

        But not those of a task that is not done: it is let go as it is, and they with it. Raises what closing
        them raised, as a group where that is several errors.
        """
        self._at_end = True
        errors: list[Exception] = []
        while self._closing:
            closing = next(iter(self._closing))
            del self._closing[closing]
            await asyncio.wait([closing])
            _note(closing, errors)
        while (generator := self._next_left()) is not None:
            closing = asyncio.ensure_future(_close(generator))
            await asyncio.wait([closing])
            _note(closing, errors)
        if errors:
            raise errors[0] if len(errors) == 1 else ExceptionGroup("async generators were closed", errors)

    def _next_left(self) -> Generator | None:
        loop: Any = events._get_running_loop()
        alive = {hash(task) for task in loop.tasks[1:]}  # the first is the workflow's own
        for number, generator in sorted([*self._open.items(), *self._kept.items()]):
            self._kept.pop(number, None)
            self._open.pop(number, None)
            if not cast("Any", generator).ag_running and self._owners[number] not in alive:
                return generator
        return None

    def unwind(self) -> None:
        """From here on nothing is closed but at once, and without effect."""
        self._unwinding = True
        self._kept.clear()
        self._owners.clear()
        self._closing.clear()


def _note(closing: asyncio.Task[None], errors: list[Exception]) -> None:
    if not closing.cancelled() and isinstance(error := closing.exception(), Exception):
        errors.append(error)


async def _close(generator: Generator) -> None:
    await generator.aclose()


def _close_now(generator: Generator) -> None:
    closing = generator.aclose()
    try:
        closing.send(None)
    except BaseException as error:  # whatever clean-up code raises
        if is_ctrl_c(error):
            raise
        return
    close_now(closing)


def close_now(coroutine: Any) -> None:
    """Close a coroutine without waiting for what it awaits meanwhile; what it raises is nobody's any more."""
    for _ in range(CLOSED_AT_MOST):
        try:
            coroutine.close()
        except RuntimeError:
            continue
        except BaseException as error:  # whatever clean-up code raises
            if is_ctrl_c(error):
                raise
        return
