"""What asyncio and anyio offer is the same in each replay: in any process, at any address."""

import json
import os
import subprocess
import sys

import pytest

SEEDS = (1, 2, 3, 4)


@pytest.fixture(scope="module")
def elsewhere() -> list[dict[str, str]]:
    """What each case of the corpus published, in as many processes."""
    command = [sys.executable, "-m", "tests.elsewhere"]
    played = [
        subprocess.Popen([*command, str(seed)], env=os.environ | {"PYTHONHASHSEED": str(seed)}, stdout=-1)
        for seed in SEEDS
    ]
    told = [process.communicate()[0] for process in played]
    assert [process.returncode for process in played] == [0] * len(SEEDS)
    return [json.loads(each) for each in told]


def test_each_process_publishes_the_same(elsewhere: list[dict[str, str]]) -> None:
    first, *others = elsewhere
    different = [name for name in first for other in others if other[name] != first[name]]
    assert sorted(set(different)) == []
