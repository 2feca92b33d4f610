"""Workflows to be looked at: each tells, asks or fails in a way of its own, and what they say is hostile."""

import asyncio
import os
from datetime import timedelta
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, RootModel, field_validator

from segue import App, Task, tool, workflow

HOSTILE = """<script>document.title = "owned"</script><img src=x onerror="document.title='owned'">'"><b>"""
"""Closes attributes and elements, and runs where it is not escaped."""

BOOKINGS = "PAGED_BOOKINGS"
"""The file that a booking adds a line to, where it is named."""


class Room(BaseModel):
    room: str
    note: str


class Guest(BaseModel):
    name: str
    nights: int
    breakfast: bool = False
    bed: Literal["single", "double"] = "single"
    window: bool = True
    floor: Literal["low", "high"] | None = None
    wish: str | None = None


class Even(RootModel[int]):
    """Its schema says less than it checks."""

    @field_validator("root")
    @classmethod
    def _even(cls, number: int) -> int:
        if number % 2:
            raise ValueError("it must be even")
        return number


@tool
async def look_up(room: str) -> Room:
    return Room(room=room, note=HOSTILE)


@tool
async def book(room: str, hotel: str) -> str:
    if where := os.environ.get(BOOKINGS):
        with Path(where).open("a") as bookings:  # noqa: ASYNC230 - a line
            bookings.write(f"{room} {hotel}\n")
    return f"booked at {hotel}"


@tool(retries=0)
async def broken(room: str) -> str:
    raise RuntimeError(f"no {room}: {HOSTILE}")


@workflow
async def trip(task: Task, room: str) -> str:
    found = await task.tool(look_up, room=room)
    task.set_view({"found": found.note})
    options = {"Alba": "alba", f"Casa {HOSTILE}": "casa"}
    hotel = await task.ask("customer", f"Where?\n{found.note}", options=options)
    return await task.tool(book, room=room, hotel=hotel)


@workflow
async def survey(task: Task, text: str) -> Guest:
    return await task.ask("lead", text, answer=Guest, timeout=timedelta.max)


@workflow
async def letter(task: Task, text: str) -> int | str:
    return await task.ask("author", text, options={"Send it": 1}, answer=str)


@workflow
async def picky(task: Task, text: str) -> Even:
    return await task.ask("lead", text, answer=Even)


@workflow
async def fails(task: Task, room: str) -> str:
    return await task.tool(broken, room=room)


@workflow
async def family(task: Task, room: str) -> int | str:
    return await task.child(letter, f"Shall we take {room}?")


@workflow
async def sleeps(task: Task, text: str) -> None:
    await task.signal("wake")
    await asyncio.sleep(3600)


@workflow
async def rounds(task: Task, left: int) -> int:
    await task.tool(look_up, room=str(left))
    if left:
        task.continue_as_new(left - 1)
    return left


@workflow
async def many(task: Task, count: int) -> None:
    for number in range(count):
        await task.tool(look_up, room=str(number))


app = App(
    "paged",
    workflows=[trip, survey, letter, picky, fails, family, sleeps, rounds, many],
    tools=[look_up, book, broken],
)
