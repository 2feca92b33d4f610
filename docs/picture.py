"""Draws docs/demo.svg from a real run of the demo: `make picture`."""

import os
import re
import subprocess
import sys
from io import StringIO
from pathlib import Path

from rich.console import Console
from rich.text import Text

WIDTH = 132
SPINNER = re.compile("[\u2800-\u28ff]")
"""The line that tells what runs now comes and goes on a terminal; a picture has only what stays."""
HERE = Path(__file__).parent


def main() -> None:
    command = ["segue", "dev", "examples/travel", "--exit-when-done", "--answer", "2"]
    path = os.pathsep.join((str(Path(sys.executable).parent), os.environ["PATH"]))
    env = os.environ | {"FORCE_COLOR": "1", "COLUMNS": str(WIDTH), "PATH": path}
    root = HERE.parent
    ran = subprocess.run(
        command, env=env, cwd=root, stdin=subprocess.DEVNULL, capture_output=True, check=True
    )
    lines = map(Text.from_ansi, ran.stdout.decode().splitlines())
    shown = [line for line in lines if line.plain.strip() and not SPINNER.search(line.plain)]
    console = Console(record=True, width=WIDTH, file=StringIO())
    console.print("[bold]$ make demo PICK=2")
    console.print(*shown, sep="\n")
    console.save_svg(str(HERE / "demo.svg"), title="Segue")


if __name__ == "__main__":
    main()
