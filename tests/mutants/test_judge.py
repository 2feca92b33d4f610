import subprocess
import sys
from pathlib import Path

import pytest

SOURCE = Path("streams/kafka/offsets/tracker.py")
TEST = "tests/streams/test_progress.py"


@pytest.mark.parametrize(("right", "wrong", "code"), [("", "", 0), ("self.high = offset + 1", "pass", 1)])
def test_a_change_of_a_module_is_noticed_by_its_tests(
    tmp_path: Path, right: str, wrong: str, code: int
) -> None:
    changed = tmp_path / "changed.py"
    changed.write_text(SOURCE.read_text().replace(right, wrong) if right else SOURCE.read_text())
    command = [
        sys.executable,
        "-m",
        "tests.mutants.judge",
        "segue.streams.kafka.offsets.tracker",
        str(changed),
        TEST,
    ]
    judged = subprocess.run(command, capture_output=True, text=True, check=False)
    assert judged.returncode == code, judged.stdout + judged.stderr
