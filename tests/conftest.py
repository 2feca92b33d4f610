"""What all tests share: an environment without the settings of whoever runs them."""

import os
from collections.abc import Iterator

import pytest

from streams.settings import ENV_PREFIX


@pytest.fixture(autouse=True, scope="session")
def _bare_environment() -> Iterator[None]:
    """Settings of the shell would change what is tested. The cache of downloads may stay where it is."""
    with pytest.MonkeyPatch.context() as patch:
        for name in list(os.environ):
            if name.startswith(ENV_PREFIX) and name != "SEGUE_CACHE_DIR":
                patch.delenv(name)
        yield
