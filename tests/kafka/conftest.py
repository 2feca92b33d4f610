"""One real broker for all tests of a process, on a port of its own; each test has its own topics on it."""

import itertools
import os
import shutil
import socket
import tempfile
from collections.abc import AsyncGenerator, Iterator
from pathlib import Path

import pytest
import pytest_asyncio

from segue.streams.local.broker import ensure_broker, stop_broker
from segue.streams.settings import Settings

_numbers = itertools.count(1)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture(scope="session")
def broker_dir() -> Iterator[Path]:
    """Not pytest's own temporary folder, which keeps the data of the last three runs."""
    with tempfile.TemporaryDirectory(prefix="segue-test-") as folder:
        yield Path(folder)
        shutil.rmtree(Path(folder) / "broker", ignore_errors=True)


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def broker(broker_dir: Path) -> AsyncGenerator[Settings]:
    """The settings that reach the session's broker."""
    settings = Settings(kafka=None, state_dir=broker_dir, local_broker_port=free_port())
    await ensure_broker(settings, print)
    yield settings
    await stop_broker(settings)


@pytest.fixture
def settings(broker: Settings, tmp_path: Path) -> Settings:
    """The session's broker, with topics, groups and local state that no other test has.

    To a test it is a cluster elsewhere (`kafka` is set): no command in it starts or stops a broker.
    """
    found = settings_on(broker, f"test{next(_numbers)}.", tmp_path / "state")
    return found.model_copy(update={"session_timeout_ms": 6_000})


def settings_on(broker: Settings, prefix: str, state_dir: Path) -> Settings:
    return Settings(
        kafka=broker.bootstrap,
        topic_prefix=prefix,
        partitions=2,
        replication=1,
        state_dir=state_dir,
        metrics_port=0,
        ui_port=0,
    )


def worker_environment(settings: Settings) -> dict[str, str]:
    """What a process needs to be a worker on the test's topics, and the test's state folder."""
    return os.environ | {
        "SEGUE_KAFKA": settings.bootstrap,
        "SEGUE_TOPIC_PREFIX": settings.topic_prefix,
        "SEGUE_PARTITIONS": str(settings.partitions),
        "SEGUE_REPLICATION": "1",
        "SEGUE_METRICS_PORT": "0",
        "SEGUE_UI_PORT": str(settings.ui_port),
        "SEGUE_SESSION_TIMEOUT_MS": str(settings.session_timeout_ms),
        "SEGUE_STATE_DIR": str(settings.state_dir),
    }
