"""Who takes part, and how each is started. Why so is in docs/peers.md."""

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Literal

from benchmarks.peers import install, servers

Kind = Literal["segue", "engine", "weaker", "plain"]
"""An engine makes steps durable; what is weaker does so only later; what is plain makes no step durable."""

Start = Callable[[Path], AbstractAsyncContextManager[servers.Server]]


@dataclass(frozen=True)
class Entry:
    """`server` is None for those on Kafka, whose broker runs all the time."""

    name: str
    kind: Kind
    durability: str
    program: str
    arguments: tuple[str, ...] = ()
    server: Start | None = None
    needs: tuple[Callable[[], None], ...] = ()
    processes: int = 1

    @property
    def with_segue(self) -> bool:
        """Whether it runs with Segue's own packages."""
        return self.server is None


PAGE_CACHE = "written, not synced"
SEGUE = "Segue"
SEGUE_LOCAL = "Segue, local tools"
OURS = (SEGUE, SEGUE_LOCAL)
"""Whose steps per second are compared with everybody's."""

RAW = "aiokafka, two hops"
AT_LEAST_ONCE = ", at least once"

PROCESSES = 2
"""A step takes so much CPU time of a program in Python that one process, on one core, holds it up."""


def _on_postgres(name: str, kind: Kind, durability: str, program: str, *arguments: str) -> Entry:
    server = partial(servers.postgres, fsync="off" if durability == PAGE_CACHE else "on")
    return Entry(name, kind, durability, program, arguments, server, (install.python,), PROCESSES)


ALL = (
    Entry(SEGUE, "segue", PAGE_CACHE, "on_segue", ("exactly_once",)),
    Entry(SEGUE_LOCAL, "segue", PAGE_CACHE, "on_segue", ("exactly_once", "local")),
    Entry(SEGUE + AT_LEAST_ONCE, "segue", PAGE_CACHE, "on_segue", ("at_least_once",)),
    Entry(SEGUE_LOCAL + AT_LEAST_ONCE, "segue", PAGE_CACHE, "on_segue", ("at_least_once", "local")),
    Entry(RAW, "plain", PAGE_CACHE, "on_aiokafka", ("exactly_once",)),
    Entry(RAW + AT_LEAST_ONCE, "plain", PAGE_CACHE, "on_aiokafka", ("at_least_once",)),
    Entry("Faust, two agents", "plain", PAGE_CACHE, "on_faust", ("exactly_once",)),
    Entry("Faust, two agents, at least once", "plain", PAGE_CACHE, "on_faust", ("at_least_once",)),
    Entry(
        "Restate", "engine", "synced", "on_restate", (), servers.restate, (install.python, install.restate)
    ),
    _on_postgres("DBOS", "engine", "synced", "on_dbos"),
    _on_postgres("DBOS, fsync off", "engine", PAGE_CACHE, "on_dbos"),
    _on_postgres("LangGraph", "engine", "synced", "on_langgraph", "sync"),
    _on_postgres("LangGraph, fsync off", "engine", PAGE_CACHE, "on_langgraph", "sync"),
    _on_postgres("LangGraph, async", "weaker", "synced, later", "on_langgraph", "async"),
)


def named(name: str) -> Entry:
    return next(entry for entry in ALL if entry.name == name)
