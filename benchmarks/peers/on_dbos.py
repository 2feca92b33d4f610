"""DBOS: a workflow of six steps, in its system database on PostgreSQL."""

# pyright: basic, reportMissingImports=false

import os
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

from dbos import DBOS, DBOSConfig

from benchmarks.peers.program import STEPS, Awaited, noop, serve

CONNECTIONS = 20
"""As many as DBOS takes by itself."""

THREADS = 64
"""Its queries run in them."""


@DBOS.step()
async def step(_: int) -> Any:
    return await noop()


@DBOS.workflow()
async def six() -> None:
    for n in range(STEPS):
        await step(n)


async def task() -> None:
    handle = await DBOS.start_workflow_async(six)
    await handle.get_result()


@asynccontextmanager
async def started() -> AsyncGenerator[Awaited]:
    config: DBOSConfig = {
        "name": "peers",
        "system_database_url": os.environ["PEERS_POSTGRES"],
        "sys_db_pool_size": CONNECTIONS,
        "max_executor_threads": THREADS,
        "executor_id": os.environ["PEERS_PROCESS"],
        "log_level": "ERROR",
    }
    DBOS(config=config)
    DBOS.launch()
    try:
        yield Awaited(task)
    finally:
        DBOS.destroy()


if __name__ == "__main__":
    serve(started, "dbos", "sqlalchemy", "psycopg")
