"""A benchmark's last line: one JSON object with its figures, kept in `benchmarks/results/`."""

import json
import os
import platform
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).parent / "results"
LIBRARIES = ("aiokafka", "pydantic", "rocksdict")


def keep(name: str, figures: dict[str, Any]) -> None:
    """Print the line and keep it as `results/NAME.json`."""
    about = {
        "benchmark": name,
        "day": datetime.now(UTC).date().isoformat(),
        "cores": os.cpu_count(),
        "python": platform.python_version(),
        "versions": {library: version(library) for library in LIBRARIES},
    }
    line = json.dumps(about | figures)
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / f"{name}.json").write_text(line + "\n")
    print(line, flush=True)
