"""Changes single lines of the engine and says which changes no test notices (`python -m tests.mutants`).

A mutant is judged by the unit tests that run its line, then by the simulation. A change that neither notices
is a survivor: no test holds the line in place, or the change makes no difference. The tests on a real Kafka
are left out, since they take minutes.
"""

import argparse
import hashlib
import json
import multiprocessing
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import accumulate, takewhile
from pathlib import Path
from typing import Any, NamedTuple

from tests.mutants.judge import SIMULATION, judge
from tests.mutants.mutations import Mutant, mutants

ENGINE = (
    "engine/effect_runner",
    "engine/local_calls",
    "kafka/offsets/tracker",
    "engine/outbox",
    "engine/pure_runner",
    "kafka/committer",
    "kafka/consumer_group",
    "kafka/producer",
    "kafka/record_batches",
    "state/restore",
    "state/store",
)
FILES = {
    "streams": [Path(f"streams/{name}.py") for name in ENGINE],
    "processors": sorted(Path("processors").rglob("*.py")),
}

TESTS = {
    "streams": ("tests/streams",),
    "processors": ("tests/processors", "tests/test_laws.py", "tests/rehearsal"),
}
"""Unit tests of each layer."""

TESTS_S_MAX = 10
"""Those that run few other lines come first; where hundreds run a line, the rest adds little."""

SECONDS_MAX = 300
"""A mutant that takes longer hangs, which is noticed."""

KEPT = Path(".mutants")
"""Which tests run which lines, until the changed files or the tests differ."""

PRELOADED = ["pytest", "hypothesis", "pydantic_ai", "mcp", "httpx", "aiokafka.client", "rocksdict"]
"""Imported once, by the process from which one is forked for each judgement."""


class Covering(NamedTuple):
    """Which checks run each line, and how many seconds each takes."""

    seconds: dict[str, float]
    lines: dict[str, dict[str, list[str]]]

    def tests(self, mutant: Mutant) -> list[str]:
        """Return the tests that run the mutant's line, the most specific first."""
        lines = self.lines.get(str(mutant.path), {})
        tests = lines.get(str(mutant.line)) or lines.get(str(mutant.statement)) or []
        breadth = self.breadth()
        tests = sorted(tests, key=lambda test: (breadth[test], test))
        ends_s = accumulate(self.seconds[test] for test in tests)
        fitting = sum(1 for _ in takewhile(lambda end_s: end_s < TESTS_S_MAX, ends_s))
        return tests[: max(1, fitting)]

    def breadth(self) -> Counter[str]:
        """Return how many lines each check runs."""
        return Counter(test for lines in self.lines.values() for tests in lines.values() for test in tests)


class Verdict(NamedTuple):
    mutant: Mutant
    killer: str | None
    """The check that noticed it; None for a survivor."""


def main() -> int:
    arguments = _arguments()
    chosen = _chosen(arguments)
    print(f"{len(chosen):,} mutants; finding the tests that run each line", flush=True)
    tests = {layer: _covering(layer, TESTS[layer]) for layer in {mutant.path.parts[0] for mutant in chosen}}
    simulated = {layer: _covering(layer, [SIMULATION]) for layer in tests}
    os.environ["PYTHONHASHSEED"] = "0"
    forks = multiprocessing.get_context("forkserver")
    forks.set_forkserver_preload(PRELOADED)
    if (failing := _failing_unchanged(forks, tests, chosen)) is not None:
        print(f"these fail without a change too, so they judge nothing: {failing}")
        return 1
    began_s, verdicts = time.monotonic(), list[Verdict]()
    with ThreadPoolExecutor(arguments.jobs) as judges:
        for verdict in judges.map(partial(_judged, forks, tests, simulated), chosen):
            verdicts.append(verdict)
            print(f"{verdict.killer or 'survived':<10}  {verdict.mutant}", flush=True)
    counts = Counter(verdict.killer for verdict in verdicts)
    duration_s = time.monotonic() - began_s
    print(
        f"\n{len(verdicts):,} mutants in {duration_s / 60:.0f} min: {counts['tests']:,} noticed by unit "
        f"tests, {counts[SIMULATION]:,} by the simulation, {counts[None]:,} survived"
    )
    return 1 if counts[None] > arguments.survivors else 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.mutants", description=__doc__)
    parser.add_argument("files", nargs="*", type=Path, help="files to change (engine, stages, Kafka layer)")
    parser.add_argument("--sample", type=int, default=200, help="mutants to draw (200); 0 takes all")
    parser.add_argument(
        "--first", type=int, default=0, help="of the sample, to go on after an interruption (0)"
    )
    parser.add_argument("--seed", type=int, default=0, help="of the draw (0)")
    parser.add_argument("--jobs", type=int, default=os.cpu_count(), help="at once (one for each core)")
    parser.add_argument("--survivors", type=int, default=0, help="more than so many end with 1 (0)")
    return parser.parse_args()


def _chosen(arguments: argparse.Namespace) -> list[Mutant]:
    files = arguments.files or [path for paths in FILES.values() for path in paths]
    every = [mutant for path in files for mutant in mutants(path)]
    if not arguments.sample or arguments.sample >= len(every):
        return every
    return random.Random(arguments.seed).sample(every, arguments.sample)[arguments.first :]


# ---------------------------------------------------------------- the tests of a line


def _covering(layer: str, checks: Sequence[str]) -> Covering:
    """Run the checks once, unless it was done before."""
    files = FILES[layer]
    kept = KEPT / f"{layer}-{_digest([*files, *_python(checks)])}.json"
    if not kept.exists():
        KEPT.mkdir(exist_ok=True)
        command = [
            sys.executable,
            "-m",
            "tests.mutants.covering",
            str(kept),
            ",".join(map(str, files)),
            *checks,
        ]
        environment = os.environ | {"PYTHONHASHSEED": "0"}
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, env=environment)
    return Covering(**json.loads(kept.read_text()))


def _python(checks: Iterable[str]) -> list[Path]:
    folders = ["tests/simulation" if check == SIMULATION else check for check in checks]
    return [
        path
        for each in map(Path, folders)
        for path in (sorted(each.rglob("*.py")) if each.is_dir() else [each])
    ]


def _digest(paths: Iterable[Path]) -> str:
    return hashlib.sha256(b"".join(str(path).encode() + path.read_bytes() for path in paths)).hexdigest()[:12]


# ---------------------------------------------------------------- one mutant


def _judged(
    forks: Any, tests: dict[str, Covering], simulated: dict[str, Covering], mutant: Mutant
) -> Verdict:
    """The verdict of the tests that run the mutant's line, then of the simulation if it does."""
    layer = mutant.path.parts[0]
    for name, checks in (("tests", tests[layer].tests(mutant)), (SIMULATION, simulated[layer].tests(mutant))):
        if checks and not _passes(forks, mutant.path, mutant.source(), checks):
            return Verdict(mutant, name)
    return Verdict(mutant, None)


def _failing_unchanged(forks: Any, tests: dict[str, Covering], chosen: list[Mutant]) -> list[str] | None:
    """Judge each file as it is, by the tests of one of its mutants; return tests that fail, if some do."""
    judged = {
        mutant.path: checks for mutant in chosen if (checks := tests[mutant.path.parts[0]].tests(mutant))
    }
    return next(
        (checks for path, checks in judged.items() if not _passes(forks, path, path.read_text(), checks)),
        None,
    )


def _passes(forks: Any, path: Path, source: str, checks: list[str]) -> bool:
    module = ".".join(("segue", *path.with_suffix("").parts))
    process = forks.Process(target=judge, args=(module, source, checks))
    process.start()
    process.join(SECONDS_MAX)
    if process.exitcode is None:
        os.killpg(process.pid, signal.SIGKILL)
        process.join()
    return bool(process.exitcode == 0)


if __name__ == "__main__":
    sys.exit(main())
