"""Changes single lines of the engine and says which changes no test notices (`python -m tests.mutants`).

A mutant is judged by the unit tests that run its line, then by the simulation. A change that neither notices
is a survivor: no test holds the line in place, or the change makes no difference. The tests on a real Kafka
are left out, since they take minutes.
"""

import argparse
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import NamedTuple

from tests.mutants.judge import SIMULATION
from tests.mutants.mutations import Mutant, mutants

ENGINE = (
    "batches",
    "effects",
    "group",
    "local",
    "outbox",
    "producer",
    "progress",
    "pure",
    "restore",
    "state",
    "transactions",
)
FILES = [*(Path(f"streams/{name}.py") for name in ENGINE), *sorted(Path("processors").glob("*.py"))]

UNIT_TESTS = ("tests/processors", "tests/streams", "tests/test_laws.py", "tests/rehearsal")

TESTS_MAX = 60
"""Tests that judge one mutant: where hundreds run a line, the rest adds little."""

SECONDS_MAX = 300
"""A mutant that takes longer hangs, which is noticed."""


class Verdict(NamedTuple):
    mutant: Mutant
    killer: str | None
    """The check that noticed it; None for a survivor."""


def main() -> int:
    arguments = _arguments()
    chosen = _chosen(arguments)
    print(f"{len(chosen):,} mutants; finding the tests that run each line", flush=True)
    tests = _tests_by_line({mutant.path for mutant in chosen})
    began_s, verdicts = time.monotonic(), list[Verdict]()
    with ThreadPoolExecutor(arguments.jobs) as judges:
        for verdict in judges.map(partial(_judged, tests), chosen):
            verdicts.append(verdict)
            if verdict.killer is None:
                print(f"\n{verdict.mutant}", flush=True)
    counts = Counter(verdict.killer for verdict in verdicts)
    took_s = time.monotonic() - began_s
    print(
        f"\n{len(verdicts):,} mutants in {took_s / 60:.0f} min: {counts['tests']:,} noticed by unit tests, "
        f"{counts[SIMULATION]:,} by the simulation, {counts[None]:,} survived"
    )
    return 1 if counts[None] > arguments.survivors else 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.mutants", description=__doc__)
    parser.add_argument("files", nargs="*", type=Path, help="files to change (engine, stages, Kafka layer)")
    parser.add_argument("--sample", type=int, default=200, help="mutants to draw (200); 0 takes all")
    parser.add_argument("--seed", type=int, default=0, help="of the draw (0)")
    parser.add_argument("--jobs", type=int, default=os.cpu_count(), help="at once (one for each core)")
    parser.add_argument("--survivors", type=int, default=0, help="more than so many end with 1 (0)")
    return parser.parse_args()


def _chosen(arguments: argparse.Namespace) -> list[Mutant]:
    every = [mutant for path in arguments.files or FILES for mutant in mutants(path)]
    if not arguments.sample or arguments.sample >= len(every):
        return every
    return sorted(random.Random(arguments.seed).sample(every, arguments.sample), key=lambda each: each.path)


def _tests_by_line(paths: Iterable[Path]) -> dict[tuple[Path, int], list[str]]:
    """Run the unit tests once, and return for each line of the files the ids of the tests that run it."""
    with tempfile.TemporaryDirectory() as folder:
        settings, data, report = (Path(folder) / name for name in ("settings", "data", "report"))
        settings.write_text("[run]\ndynamic_context = test_function\n[json]\nshow_contexts = True\n")
        coverage = [sys.executable, "-m", "coverage"]
        options = [f"--rcfile={settings}", f"--data-file={data}"]
        subprocess.run(
            [
                *coverage,
                "run",
                *options,
                f"--include={','.join(map(str, paths))}",
                "-m",
                "pytest",
                "-q",
                "-n",
                "0",
                *UNIT_TESTS,
            ],
            check=True,
            stdout=subprocess.DEVNULL,
        )
        subprocess.run([*coverage, "json", *options, "-o", report, "-q"], check=True)
        files = json.loads(report.read_text())["files"]
    return {
        (Path(path), int(line)): [_test_id(context) for context in contexts if context]
        for path, file in files.items()
        for line, contexts in file["contexts"].items()
    }


def _test_id(context: str) -> str:
    """`tests.processors.test_loop.test_sleeps` as pytest names it."""
    module, _, function = context.rpartition(".")
    return f"{module.replace('.', '/')}.py::{function}"


def _judged(tests: dict[tuple[Path, int], list[str]], mutant: Mutant) -> Verdict:
    """The verdict of the tests that run the mutant's line, then of the simulation."""
    covering = sorted(set(tests.get((mutant.path, mutant.line), ())))
    some = random.Random(str(mutant.path)).sample(covering, min(len(covering), TESTS_MAX))
    with tempfile.NamedTemporaryFile("w", suffix=".py") as file:
        file.write(mutant.source())
        file.flush()
        if some and not _passes(mutant, file.name, some):
            return Verdict(mutant, "tests")
        return Verdict(mutant, None if _passes(mutant, file.name, [SIMULATION]) else SIMULATION)


def _passes(mutant: Mutant, file: str, checks: list[str]) -> bool:
    module = ".".join(mutant.path.with_suffix("").parts)
    command = [sys.executable, "-m", "tests.mutants.judge", module, file, *checks]
    environment = os.environ | {"PYTHONHASHSEED": "0"}
    try:
        done = subprocess.run(command, env=environment, capture_output=True, timeout=SECONDS_MAX, check=False)
    except subprocess.TimeoutExpired:
        return False
    return done.returncode == 0


if __name__ == "__main__":
    sys.exit(main())
