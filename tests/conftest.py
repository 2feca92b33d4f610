"""What all tests share: an environment without the settings of whoever runs them."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from chaos.machine import Machine
from segue.streams.settings import ENV_PREFIX


@pytest.fixture(autouse=True, scope="session")
def _bare_environment() -> Iterator[None]:
    """Settings of the shell would change what is tested. The cache of downloads may stay where it is."""
    with pytest.MonkeyPatch.context() as patch:
        for name in list(os.environ):
            if name.startswith(ENV_PREFIX) and name != "SEGUE_CACHE_DIR":
                patch.delenv(name)
        yield


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[Machine]:
    """With a small disk that can be filled; skipped where mounting one is not permitted."""
    machine = Machine(1, tmp_path)
    if not machine.is_small:
        pytest.skip("needs a small tmpfs: run as root, or under `unshare --map-root-user --mount`")
    yield machine
    machine.scrap()
