"""Runs checks in this process with one module changed: `python -m tests.mutants.judge MODULE FILE CHECK …`.

FILE holds the changed source of MODULE. A CHECK is the id of a test, or `simulation` for drawn schedules of
the whole system. The exit code is 0 if all checks pass: nothing noticed the change.
"""

import importlib.machinery
import importlib.util
import os
import resource
import sys
from collections.abc import Sequence
from importlib.abc import MetaPathFinder
from pathlib import Path
from types import CodeType, ModuleType

SIMULATION = "simulation"
SEEDS = 40

QUIETLY = (
    *("-q", "-n", "0", "-p", "no:cacheprovider", "--hypothesis-seed=0"),
    "-Wignore::pytest.PytestAssertRewriteWarning",  # modules that were imported before the fork
)

CPU_S_MAX = 90
"""A mutant that computes for longer hangs."""

MEMORY_MAX = 4 * 2**30


class Changed(importlib.machinery.SourceFileLoader):
    """Loads a module from a source that is not the one in its file."""

    def __init__(self, name: str, path: str, source: str) -> None:
        super().__init__(name, path)
        self._source = source

    def get_code(self, fullname: str) -> CodeType:
        return compile(self._source, self.path, "exec")


class Finder(MetaPathFinder):
    def __init__(self, name: str, source: str) -> None:
        self._name = name
        self._source = source

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        if fullname != self._name:
            return None
        file = f"{fullname.replace('.', '/')}.py"
        return importlib.util.spec_from_file_location(
            fullname, file, loader=Changed(fullname, file, self._source)
        )


def judge(module: str, source: str, checks: Sequence[str]) -> None:
    """End this process, which was forked for the purpose: with 0 if all checks pass. It prints nothing."""
    os.setsid()  # what the checks start is killed with it
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    os.dup2(nowhere, 2)
    resource.setrlimit(resource.RLIMIT_CPU, (CPU_S_MAX, CPU_S_MAX))
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_MAX, MEMORY_MAX))
    sys.exit(_judged(module, source, checks))


def _judged(module: str, source: str, checks: Sequence[str]) -> int:
    sys.meta_path.insert(0, Finder(module, source))
    return simulated() if list(checks) == [SIMULATION] else _tested(checks)


def _tested(tests: Sequence[str]) -> int:
    import pytest

    return int(pytest.main([*QUIETLY, "-x", *tests]))


def simulated() -> int:
    """Play the first seeds. Return 1 if a claim breaks."""
    from tests.simulation.stand_ins import install

    install()
    from tests.simulation.play import play
    from tests.simulation.schedule import drawn

    for seed in range(SEEDS):
        if (broken := play(drawn(seed)).broken) is not None:
            print(f"seed {seed}: {broken}")
            return 1
    return 0


if __name__ == "__main__":
    module, file, *checks = sys.argv[1:]
    sys.exit(_judged(module, Path(file).read_text(), checks))
