"""Plays seeds: `python -m tests.simulation --help`."""

import os
import sys

from tests.simulation.stand_ins import install

if __name__ == "__main__":
    if os.environ.get("PYTHONHASHSEED") != "0":  # sets have an order too
        os.environ["PYTHONHASHSEED"] = "0"
        os.execv(sys.executable, [sys.executable, "-m", "tests.simulation", *sys.argv[1:]])
    install()
    from tests.simulation.command import main

    sys.exit(main())
