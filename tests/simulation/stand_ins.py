"""Puts the simulated clients, disk and clock in the place of the real ones. Import nothing of ours before."""

import shutil
import time
from collections.abc import Callable
from typing import Any

import aiokafka.client
import rocksdict

import segue.streams.kafka.broker_clock
from tests.simulation.world import PROCESS

REAL_S = time.perf_counter


class Clocks:
    """In place of the process's own clock: that of the simulated process whose code runs."""

    def __getattr__(self, name: str) -> Callable[..., Any]:
        def of_whose_code_runs(*given: Any) -> Any:
            return getattr(PROCESS.get().clock, name)(*given)

        return of_whose_code_runs


def install() -> None:
    segue.streams.kafka.broker_clock.CLOCK = clocks = Clocks()  # type: ignore[assignment]
    segue.streams.kafka.broker_clock.now_ms = clocks.now_ms
    from tests.simulation import consumer, disk, requests

    def now_s() -> float:
        process = PROCESS.get(None)
        return process.world.loop.now_s if process is not None else REAL_S()

    def clock_gettime(_: int) -> float:
        return now_s()

    def remove(path: object, **_: object) -> None:
        PROCESS.get().disk.pop(str(path), None)

    stand_ins: dict[Any, dict[str, Any]] = {
        aiokafka: {"AIOKafkaConsumer": consumer.Consumer},
        aiokafka.client: {"AIOKafkaClient": requests.Client},
        rocksdict: {"Rdict": disk.Rdict, "WriteBatch": disk.WriteBatch, "ReadOptions": disk.ReadOptions},
        time: {
            "time_ns": lambda: PROCESS.get().wall_ms * 1_000_000,
            "monotonic": now_s,
            "clock_gettime": clock_gettime,
            "perf_counter": now_s,
        },
        shutil: {"rmtree": remove},
    }
    for module, names in stand_ins.items():
        for name, stand_in in names.items():
            setattr(module, name, stand_in)
