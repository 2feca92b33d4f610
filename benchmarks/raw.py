"""The limit: one record passed back and forth between two loops of plain aiokafka, with one guarantee.

Each loop consumes one record, produces one, and commits: the shape of a stage without anything in it. A turn
over both is what a durable step costs at the least.
"""

import asyncio
import time
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager, nullcontext
from itertools import pairwise
from typing import Any, Literal

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from segue.streams.settings import Settings

TURNS = 300
WARM_UP = 30
RETRY_BACKOFF_MS = 5
"""As in Segue: aiokafka's default waits 100 ms whenever the last transaction is not quite finished."""


Guarantee = Literal["exactly_once", "at_least_once"]
Hop = Callable[[], Awaitable[int]]
"""Passes on what has come, and says how many records that were."""


async def raw_two_hop_ms(settings: Settings, guarantee: Guarantee, turns: int = TURNS) -> list[float]:
    """The duration of each turn of one record, in ms, after a warm-up."""
    ends: list[float] = []
    async with _hops(settings, guarantee, in_flight=1) as (there, back):
        while len(ends) < turns + WARM_UP:
            await there()
            await back()
            ends.append(time.perf_counter())
    return [(b - a) * 1000 for a, b in pairwise(ends[WARM_UP:])]


async def raw_turns(
    settings: Settings, guarantee: Guarantee, in_flight: int, seconds: float
) -> tuple[float, int]:
    """Turns per second of so many records, after a warm-up of a quarter; and all turns. Both loops run."""
    turns = 0

    async def forever(hop: Hop) -> None:
        nonlocal turns
        while True:
            turns += await hop()

    async with _hops(settings, guarantee, in_flight) as both:
        loops = [asyncio.create_task(forever(hop)) for hop in both]
        await asyncio.sleep(seconds / 4)
        before, begin = turns, time.perf_counter()
        await asyncio.sleep(seconds)
        rate = (turns - before) / 2 / (time.perf_counter() - begin)
        for loop in loops:
            loop.cancel()
        await asyncio.gather(*loops, return_exceptions=True)
    return rate, turns // 2


@asynccontextmanager
async def _hops(settings: Settings, guarantee: Guarantee, in_flight: int) -> AsyncGenerator[tuple[Hop, Hop]]:
    """Both loops, on topics of their own, and so many records on the way."""
    names = [f"raw-{time.time_ns()}-{side}" for side in ("a", "b")]
    admin: Any = AIOKafkaAdminClient(**settings.client_options())
    await admin.start()
    await admin.create_topics([NewTopic(name, 1, 1) for name in names])
    await admin.close()
    async with AsyncExitStack() as stack:
        there = await _hop(stack, settings, names[0], names[1], guarantee)
        back = await _hop(stack, settings, names[1], names[0], guarantee)
        starter: Any = await stack.enter_async_context(AIOKafkaProducer(**settings.client_options()))
        await asyncio.gather(*(starter.send_and_wait(names[0], b"x" * 200) for _ in range(in_flight)))
        yield there, back
    await delete_topics(settings, names)


async def delete_topics(settings: Settings, names: list[str]) -> None:
    admin: Any = AIOKafkaAdminClient(**settings.client_options())
    await admin.start()
    await admin.delete_topics([settings.topic(name) for name in names])
    await admin.close()


async def _hop(
    stack: AsyncExitStack, settings: Settings, source: str, target: str, guarantee: Guarantee
) -> Hop:
    transactional = guarantee == "exactly_once"
    consumer: Any = AIOKafkaConsumer(
        source,
        **settings.client_options(),
        group_id=source,
        enable_auto_commit=False,
        auto_offset_reset="earliest",
        isolation_level="read_committed" if transactional else "read_uncommitted",
    )
    producer: Any = AIOKafkaProducer(
        **settings.client_options(),
        linger_ms=0,
        enable_idempotence=True,
        transactional_id=source if transactional else None,
    )
    producer._sender._retry_backoff = RETRY_BACKOFF_MS / 1000
    await asyncio.gather(stack.enter_async_context(consumer), stack.enter_async_context(producer))

    async def hop() -> int:
        batch: Any = None
        while not batch:
            batch = await consumer.getmany(timeout_ms=1000)
        offsets = {partition: records[-1].offset + 1 for partition, records in batch.items()}
        async with producer.transaction() if transactional else nullcontext():
            sent = [await producer.send(target, r.value) for records in batch.values() for r in records]
            if transactional:
                await producer.send_offsets_to_transaction(offsets, source)
            else:
                await asyncio.gather(*sent)
                await consumer.commit(offsets)
        return len(sent)

    return hop
