"""A worker may open as many files and connections as its system lets it."""

import subprocess
import sys

import pytest

RAISE = """
import resource
from segue.streams.process.open_files import allow_open_files
_, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
resource.setrlimit(resource.RLIMIT_NOFILE, ({soft}, {hard}))
print(allow_open_files(), resource.getrlimit(resource.RLIMIT_NOFILE)[0])
"""


@pytest.mark.parametrize(
    ("soft", "hard", "allowed"), [(256, 2048, 2048), (2048, 2048, 2048), (100, 100, 100)]
)
def test_the_limit_is_raised_as_far_as_it_may_be(soft: int, hard: int, allowed: int) -> None:
    program = RAISE.format(soft=soft, hard=hard)
    told = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert told.stdout.split() == [str(allowed)] * 2
