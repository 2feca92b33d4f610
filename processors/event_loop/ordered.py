"""Sets of coroutines, futures and cancel scopes that iterate in order of insertion.

asyncio and anyio keep such sets. These objects hash by their address, so a plain set of them has another
order in each process, and a replay would start, wake or cancel them in another order than the first run did.
While a workflow's loop runs, `set()` in their modules makes an `InsertionOrderedSet`.
"""

import asyncio
import builtins
from asyncio import events, taskgroups, tasks
from collections.abc import Callable, Iterable, Iterator, Set
from typing import Any, Self, TypeVar, cast

from anyio._backends import _asyncio as anyio_tasks

T = TypeVar("T")


class InsertionOrderedSet(set[T]):
    """A set that iterates in order of insertion. What is derived from it, a union say, is a plain set."""

    def __init__(self, items: Iterable[T] = ()) -> None:
        super().__init__()
        self._order: dict[T, None] = {}
        self.update(items)

    def __iter__(self) -> Iterator[T]:
        return iter(self._order)

    def add(self, item: T, /) -> None:
        super().add(item)
        self._order[item] = None

    def discard(self, item: object, /) -> None:
        super().discard(item)
        self._order.pop(cast("T", item), None)

    def remove(self, item: T, /) -> None:
        super().remove(item)
        del self._order[item]

    def pop(self) -> T:
        if not self:
            raise KeyError("pop from an empty set")
        item = next(iter(self))
        self.remove(item)
        return item

    def clear(self) -> None:
        super().clear()
        self._order.clear()

    def update(self, *others: Iterable[T]) -> None:
        for other in others:
            for item in list(other):
                self.add(item)

    def difference_update(self, *others: Iterable[Any]) -> None:
        for other in others:
            for item in list(other):
                self.discard(item)

    def intersection_update(self, *others: Iterable[Any]) -> None:
        self.difference_update(self.difference(self.intersection(*others)))

    def symmetric_difference_update(self, other: Iterable[T], /) -> None:
        for item in dict.fromkeys(other):
            (self.discard if item in self else self.add)(item)

    def __ior__(self, other: Set[T]) -> Self:  # type: ignore[override,misc]
        self.update(other)
        return self

    def __isub__(self, other: Set[Any]) -> Self:  # type: ignore[misc]
        self.difference_update(other)
        return self

    def __iand__(self, other: Set[Any]) -> Self:  # type: ignore[misc]
        self.intersection_update(other)
        return self

    def __ixor__(self, other: Set[T]) -> Self:  # type: ignore[override,misc]
        self.symmetric_difference_update(other)
        return self


def keep_order_in(is_workflow: Callable[[Any], bool], tasks_of: Callable[[Any], Iterable[Any]]) -> None:
    """Make asyncio and anyio keep their sets in order while such a loop runs; elsewhere nothing changes.

    `tasks_of` returns what `asyncio.all_tasks` returns for such a loop, in order.
    """
    all_tasks = asyncio.all_tasks

    def ordered(items: Iterable[T] = ()) -> set[T]:
        if is_workflow(events._get_running_loop()):
            return InsertionOrderedSet(items)
        return builtins.set(items)

    def ordered_tasks(loop: asyncio.AbstractEventLoop | None = None) -> set[asyncio.Task[Any]]:
        of = events._get_running_loop() if loop is None else loop
        return InsertionOrderedSet(tasks_of(of)) if is_workflow(of) else all_tasks(loop)

    for module in (tasks, taskgroups, anyio_tasks):
        vars(module)["set"] = ordered
    for module in (asyncio, tasks, anyio_tasks):
        vars(module)["all_tasks"] = ordered_tasks
