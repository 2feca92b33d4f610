"""LangGraph: a graph whose one node runs six times, each time followed by a checkpoint in PostgreSQL.

python -m benchmarks.peers.on_langgraph sync|async
"""

# pyright: basic, reportMissingImports=false

import os
import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from itertools import count
from typing import Any, TypedDict

from langgraph.checkpoint.postgres.aio import AsyncPostgresSaver
from langgraph.graph import END, START, StateGraph
from psycopg.rows import dict_row
from psycopg_pool import AsyncConnectionPool

from benchmarks.peers.program import STEPS, Awaited, noop, serve

CONNECTIONS = 20


class State(TypedDict):
    done: int
    result: dict[str, Any]


async def step(state: State) -> State:
    return {"done": state["done"] + 1, "result": await noop()}


def further(state: State) -> str:
    return END if state["done"] == STEPS else "step"


@asynccontextmanager
async def started() -> AsyncGenerator[Awaited]:
    """Connections as AsyncPostgresSaver asks for them."""
    options = {"autocommit": True, "prepare_threshold": 0, "row_factory": dict_row}
    async with AsyncConnectionPool(
        os.environ["PEERS_POSTGRES"], min_size=CONNECTIONS, max_size=CONNECTIONS, kwargs=options
    ) as pool:
        saver = AsyncPostgresSaver(pool)
        if os.environ["PEERS_PROCESS"] == "0":
            await saver.setup()
        graph = StateGraph(State)
        graph.add_node("step", step)
        graph.add_edge(START, "step")
        graph.add_conditional_edges("step", further, ["step", END])
        compiled = graph.compile(checkpointer=saver)
        numbers = count()

        async def task() -> None:
            thread = f"{os.environ['PEERS_PROCESS']}-{next(numbers)}"
            await compiled.ainvoke(
                {"done": 0, "result": {}},
                {"configurable": {"thread_id": thread}},
                durability=sys.argv[1],
            )

        yield Awaited(task)


if __name__ == "__main__":
    serve(started, "langgraph", "langgraph-checkpoint-postgres", "psycopg")
