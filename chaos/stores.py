"""What stood on the disks of workers, held against the changelogs: the state before, and the state rebuilt.

The harness's broker does not compact, so a changelog tells what it said at any offset. A store is known by a
digest of all its keys and values, in order: equal digests are equal bytes.
"""

import hashlib
import shutil
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from segue.streams.kafka.reader import Reader
from segue.streams.settings import Settings
from segue.streams.state.restore import open_restored
from segue.streams.state.store import Store

CHANGELOGS = {"conduct-state": "conduct", "delay-state": "delay"}


@dataclass(frozen=True)
class Left:
    """A store as a worker left it when it was killed."""

    worker: str
    stage: str
    partition: int
    offset: int
    digest: bytes


def left_on(disk: Path, scratch: Path) -> list[Left]:
    """Looked at in copies: opening a store changes its files."""
    found: list[Left] = []
    for stage in CHANGELOGS.values():
        for path in disk.glob(f"**/{stage}-*"):
            copy = scratch / path.name
            shutil.copytree(path, copy)
            store = Store(copy)
            digest = _digest(dict(store.all()))
            found.append(Left(path.parent.name, stage, _partition(path), store.offset, digest))
            store.close()
            shutil.rmtree(copy)
    return found


async def judge_stores(
    settings: Settings, state_dir: Path, scratch: Path, killed: Iterable[Left]
) -> list[str]:
    """What is wrong, in words. Every changelog is folded from nothing, and each of these must be that fold:

    the stores of workers that were killed, at their own offset; every store that is there now, once the code
    with which workers take over has brought it to the end; and what that code makes from nothing.
    """
    wrong: list[str] = []
    for topic, stage in CHANGELOGS.items():
        wanted = [left for left in killed if left.stage == stage]
        ends, ahead = await _compared(settings, topic, wanted)
        wrong += [f"{left.worker}: {stage}-{left.partition} at {left.offset}, when killed" for left in ahead]
        anew = {number: scratch / "anew" / f"{stage}-{number}" for number in ends}
        wrong += [f"{each} from nothing" for each in await _unlike(settings, topic, anew, ends)]
        for folder in sorted({path.parent for path in state_dir.glob(f"**/{stage}-*")}):  # noqa: ASYNC240 - nothing else runs by then
            there = {_partition(path): path for path in folder.glob(f"{stage}-*")}
            wrong += await _unlike(settings, topic, there, ends)
    return wrong


async def _unlike(
    settings: Settings, topic: str, paths: Mapping[int, Path], ends: Mapping[int, bytes]
) -> list[str]:
    wrong: list[str] = []
    async for number, store in open_restored(settings, topic, paths):
        if _digest(dict(store.all())) != ends[number]:
            wrong.append(str(paths[number]))
        store.close()
    return wrong


async def _compared(
    settings: Settings, topic: str, wanted: Iterable[Left]
) -> tuple[dict[int, bytes], list[Left]]:
    """The digest of each partition's fold at its end, and which of `wanted` differ from it at their own."""
    due: dict[int, list[Left]] = defaultdict(list)
    for left in sorted(wanted, key=lambda left: left.offset, reverse=True):
        due[left.partition].append(left)
    wrong: list[Left] = []
    async with Reader(settings) as reader:
        places = reader.partitions(topic)
        states: dict[int, dict[bytes, bytes]] = {place.partition: {} for place in places}
        async for record in reader.read(await reader.beginnings(places), await reader.ends(places)):
            state, waiting = states[record.partition], due[record.partition]
            while waiting and waiting[-1].offset <= record.offset:
                wrong += _if_unlike(waiting.pop(), state)
            if record.value is None:
                state.pop(record.key or b"", None)
            else:
                state[record.key or b""] = record.value
    for number, waiting in due.items():
        wrong += [each for left in waiting for each in _if_unlike(left, states[number])]
    return {number: _digest(state) for number, state in states.items()}, wrong


def _if_unlike(left: Left, state: Mapping[bytes, bytes]) -> list[Left]:
    return [left] if left.digest != _digest(state) else []


def _digest(entries: Mapping[bytes, bytes]) -> bytes:
    return hashlib.sha256(repr(sorted(entries.items())).encode()).digest()


def _partition(store: Path) -> int:
    return int(store.name.rpartition("-")[2])
