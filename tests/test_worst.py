"""No input from outside costs more than linear time."""

import subprocess
import sys

from tests.worst import PLACES

KILLED_AFTER_S = 600
"""The whole takes about 20 s. A place that is not linear takes hours."""


def test_the_worst_input_of_each_place_is_met_in_linear_time() -> None:
    command = [sys.executable, "-m", "tests.worst"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            met, _ = process.communicate(timeout=KILLED_AFTER_S)
        except subprocess.TimeoutExpired:
            process.kill()
            met, _ = process.communicate()
    assert met.split() == [*(place.__name__ for place in PLACES), "all"]
