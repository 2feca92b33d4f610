"""The outside's own record of every execution of a tool: a file for each worker process, only appended to.

A line is written in one call of the system before the tool begins and one after it ended, so what a killed
process was doing is known: it began and never ended. The files survive the kill of the process that wrote
them; nothing here goes through Kafka or Segue.
"""

import itertools
import json
import os
import time
from collections.abc import Generator, Iterable
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from segue import current_attempt

FOLDER = "CHAOS_LEDGER"
"""The environment's variable that tells workers where to write."""


@dataclass(frozen=True)
class Execution:
    """One run of a tool for one attempt of a step; times by the monotonic clock, which processes share."""

    key: str
    attempt: int
    asked: str
    began_s: float
    ended_s: float | None

    @property
    def task(self) -> str:
        """The task that the outside submitted: children are named below their parents."""
        return self.key.partition("/")[0]


class Ledger:
    """What this process writes."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / f"{time.time_ns()}-{os.getpid()}.jsonl"
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        self._numbers = itertools.count()

    @contextmanager
    def executing(self, tool: str, *arguments: Any) -> Generator[None]:
        now = current_attempt()
        number = next(self._numbers)
        asked = json.dumps([tool, *arguments])
        began = {"key": now.idempotency_key, "attempt": now.attempt, "asked": asked}
        self._write({"number": number, "began_s": time.monotonic(), **began})
        try:
            yield
        finally:
            self._write({"number": number, "ended_s": time.monotonic()})

    def _write(self, line: dict[str, Any]) -> None:
        os.write(self._file, json.dumps(line).encode() + b"\n")


def read(folder: Path) -> list[Execution]:
    return [execution for path in sorted(folder.glob("*.jsonl")) for execution in _executions(path)]


def _executions(path: Path) -> Iterable[Execution]:
    began: dict[int, dict[str, Any]] = {}
    ended: dict[int, float] = {}
    for line in map(json.loads, path.read_text().splitlines()):
        number = line.pop("number")
        if "ended_s" in line:
            ended[number] = line["ended_s"]
        else:
            began[number] = line
    return [Execution(**line, ended_s=ended.get(number)) for number, line in began.items()]
