"""Finds which checks run each line: `python -m tests.mutants.covering OUT FILES CHECK …`.

FILES are the files to look at, with commas between them. A CHECK is a file or folder of tests, or
`simulation`. OUT receives the seconds of each test that passed, and the checks that ran each line.
"""

# pyright: basic, reportMissingImports=false

import json
import sys
from collections import defaultdict
from pathlib import Path
from typing import Any

import coverage

from tests.mutants.judge import QUIETLY, SIMULATION, simulated


class Contexts:
    """A plugin of pytest that names each test to coverage, and notes how long it took."""

    def __init__(self, covered: coverage.Coverage) -> None:
        self._covered = covered
        self.seconds: defaultdict[str, float] = defaultdict(float)
        self.failed: set[str] = set()

    def pytest_runtest_logstart(self, nodeid: str) -> None:
        self._covered.switch_context(nodeid)

    def pytest_runtest_logreport(self, report: Any) -> None:
        self.seconds[report.nodeid] += report.duration
        if not report.passed:
            self.failed.add(report.nodeid)


def main() -> int:
    out, files, *checks = sys.argv[1:]
    covered = coverage.Coverage(data_file=None, config_file=False, include=files.split(","))
    contexts = Contexts(covered)
    with covered.collect():
        if checks == [SIMULATION]:
            covered.switch_context(SIMULATION)
            contexts.seconds[SIMULATION] = 0
            failed = simulated()
        else:
            failed = _tested(checks, contexts)
    lines = {
        str(Path(path).relative_to(Path.cwd())): _checks(covered, path, contexts) for path in _paths(covered)
    }
    seconds = {test: s for test, s in contexts.seconds.items() if test not in contexts.failed}
    Path(out).write_text(json.dumps({"seconds": seconds, "lines": lines}))
    return failed


def _tested(tests: list[str], contexts: Contexts) -> int:
    import pytest

    pytest.main([*QUIETLY, *tests], plugins=[contexts])
    return 0  # tests that fail are left out


def _paths(covered: coverage.Coverage) -> set[str]:
    return set(covered.get_data().measured_files())


def _checks(covered: coverage.Coverage, path: str, contexts: Contexts) -> dict[int, list[str]]:
    return {
        line: sorted({check for check in checks if check} - contexts.failed)
        for line, checks in covered.get_data().contexts_by_lineno(path).items()
    }


if __name__ == "__main__":
    sys.exit(main())
