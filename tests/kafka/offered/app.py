"""Workflows to be called from outside, by MCP clients."""

import asyncio

from pydantic import BaseModel

from segue import App, Policy, Task, ToolRoute, tool, workflow


class Order(BaseModel):
    room: str
    nights: int = 1


class Booking(BaseModel):
    room: str
    hotel: str


@tool
async def price(room: str) -> int:
    return {"single": 60}.get(room, 90)


@tool(retries=0)
async def nowhere(room: str) -> int:
    raise RuntimeError(f"no {room} anywhere")


quote: ToolRoute[int] = ToolRoute("quote", [price], output=int, policy=Policy(retries=0))


@workflow
async def offer(task: Task, room: str) -> int:
    """What a room costs a night."""
    return await task.tool(quote, room=room)


@workflow
async def book(task: Task, order: Order) -> Booking:
    """Books a room where the customer likes it."""
    hotel = await task.ask(
        "customer", f"Where, {order.room}?", options={"Alba": "alba", "Casa do Mar": "casa"}
    )
    return Booking(room=order.room, hotel=hotel)


@workflow
async def nights(task: Task) -> int:
    return await task.ask("customer", "How many nights?", answer=int)


@workflow
async def approved(task: Task) -> str:
    return await task.ask("lead", "May they?")


@workflow
async def refused(task: Task, room: str) -> int:
    return await task.tool(nowhere, room)


@workflow
async def endless(task: Task) -> None:
    await asyncio.sleep(3600)


app = App(
    "offered",
    workflows=[offer, book, nights, approved, refused, endless],
    routes=[quote],
    tools=[nowhere],
)
