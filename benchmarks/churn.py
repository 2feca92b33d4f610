"""What ended tasks leave behind: the bytes of conduct's state, on disk and on its changelog, over rounds.

In each round so many tasks begin and end, and eight days pass: their marks go two rounds later. The changelog
is given the smallest segments that Kafka takes, and no patience with what was deleted, so that its cleaner
does in seconds what takes hours in use; after each round it has time for that. What should be seen is flat
once the buffers of RocksDB are full, 8 MB and their log.

    python -m benchmarks.churn [--tasks 8000] [--rounds 6]
"""

import argparse
import asyncio
from collections.abc import Iterable
from functools import partial
from pathlib import Path
from typing import Any

from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType

from benchmarks.report import keep, measured
from benchmarks.restore import fill, fillers_of, prepared
from segue.streams.kafka.broker_clock import now_ms
from segue.streams.local.broker import broker_status
from segue.streams.settings import Settings
from segue.topics.contracts import DAY_MS

HASTY = {
    "cleanup.policy": "compact",
    "segment.bytes": str(1024 * 1024),
    "segment.ms": "5000",
    "min.cleanable.dirty.ratio": "0.01",
    "delete.retention.ms": "1",
    "max.compaction.lag.ms": "5000",
}
CLEANING_S = 35.0
"""The cleaner looks every 15 s, and tombstones go in its second pass."""


async def measure(settings: Settings, broker: Path, tasks: int, rounds: int) -> dict[str, Any]:
    await _hasten(settings)
    found: list[dict[str, float]] = []
    async with fillers_of(settings) as fillers:
        for number in range(rounds):
            at_ms = now_ms() - (rounds - number) * 8 * DAY_MS  # Kafka refuses what is of the future
            for filler in fillers.values():
                filler.now_ms = partial(int, at_ms)
            await fill(fillers, [f"{number}-{n}" for n in range(tasks)])
            for filler in fillers.values():
                await filler.end()
            await asyncio.sleep(CLEANING_S)
            row = _sizes(settings, broker)
            found.append(row)
            print(f"round {number + 1}: {row}", flush=True)
    return {"tasks_per_round": tasks, "rounds": found}


def _sizes(settings: Settings, broker: Path) -> dict[str, float]:
    changelog = broker.glob(f"data/{settings.topic('conduct-state')}-*/*.log")
    return {"changelog_mb": _mb(changelog), "state_mb": _mb(settings.state_dir.rglob("*"))}


def _mb(files: Iterable[Path]) -> float:
    return round(sum(file.stat().st_size for file in files if file.is_file()) / 1e6, 2)


async def _hasten(settings: Settings) -> None:
    topic = ConfigResource(ConfigResourceType.TOPIC, settings.topic("conduct-state"), HASTY)
    admin: Any = AIOKafkaAdminClient(**settings.client_options())
    await admin.start()
    await admin.alter_configs([topic])
    await admin.close()


async def run(tasks: int, rounds: int) -> dict[str, Any]:
    async with prepared(partitions=1) as settings:
        broker = (await broker_status(Settings.load())).folder
        assert broker is not None, "the sizes are those of the local broker's files"
        return await measure(settings, broker, tasks, rounds)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--tasks", type=int, default=8_000)
    parser.add_argument("--rounds", type=int, default=6)
    given = parser.parse_args()
    keep("churn", measured(run(given.tasks, given.rounds)))


if __name__ == "__main__":
    main()
