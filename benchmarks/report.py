"""A benchmark's last line: one JSON object with its figures, kept in `benchmarks/results/`."""

import asyncio
import json
import os
import platform
import subprocess
from collections.abc import Coroutine
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any, TypeVar

from benchmarks.peers.install import PYTHON
from segue.streams.observability.log_throttle import quiet_aiokafka
from segue.topics.errors import SegueError

HERE = Path(__file__).parent
RESULTS = HERE / "results"
LIBRARIES = ("aiokafka", "pydantic", "rocksdict")


T = TypeVar("T")


def measured(measuring: Coroutine[Any, Any, T]) -> T:
    """What it comes to. Where it can't be measured the program ends, with the reason."""
    quiet_aiokafka()
    try:
        return asyncio.run(measuring)
    except SegueError as error:
        raise SystemExit(str(error)) from None


def keep(name: str, found: dict[str, Any]) -> None:
    """Print the line and keep it as `results/NAME.json`."""
    about = {
        "benchmark": name,
        "day": datetime.now(UTC).date().isoformat(),
        "cores": os.cpu_count(),
        "python": platform.python_version(),
        "versions": {library: version(library) for library in LIBRARIES},
    }
    line = json.dumps(about | found)
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / f"{name}.json").write_text(line + "\n")
    print(line, flush=True)


def draw(name: str, plot: str) -> None:
    """docs/PLOT.svg of what was kept, by the library of the peers' environment, if that is there."""
    if PYTHON.exists():
        target = HERE.parent / "docs" / f"{plot}.svg"
        subprocess.run([PYTHON, HERE / "plot.py", RESULTS / f"{name}.json", target], check=True)
    else:
        print(f"docs/{plot}.svg is not drawn: `make benchmark-peers` installs what draws it")
