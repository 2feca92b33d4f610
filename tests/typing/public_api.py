"""What a type checker in the user's editor makes of the API; checked by pyright and mypy, never run."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, assert_type

from pydantic import BaseModel

from segue import (
    App,
    Budget,
    CallInfo,
    CandidateStats,
    Client,
    ModelRoute,
    Selection,
    StepError,
    Task,
    Tool,
    ToolRoute,
    Workflow,
    cheapest,
    check,
    judge,
    tool,
    workflow,
)
from segue.testing import Call, Rehearsal, in_turn


class Hotel(BaseModel):
    id: str


@dataclass
class Trip:
    place: str


@tool
async def find(place: str, count: int = 1) -> list[Hotel]:
    return [Hotel(id=place)] * count


@tool(retries=1, timeout_s=5)
async def book(hotel: Hotel) -> str:
    return hotel.id


@tool
async def cancel(booking: str) -> None: ...


@tool
async def withdraw() -> None: ...


@tool(undo=cancel, retries=1)
async def book_or_cancel(hotel: Hotel) -> str:
    return hotel.id


@tool(undo=withdraw)
async def book_or_withdraw(hotel: Hotel) -> str:
    return hotel.id


@tool
def look_up(place: str) -> list[Hotel]:
    return [Hotel(id=place)]


@tool(undo=cancel)
def charge(hotel: Hotel) -> str:
    return hotel.id


@tool(undo=withdraw, retries=1)
def charge_or_withdraw(hotel: Hotel) -> str:
    return hotel.id


@tool(undo=cancel)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
def charge_by_number(hotel: Hotel) -> int:
    return 1


@tool(undo=cancel)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
async def book_by_number(hotel: Hotel) -> int:
    return 1


@check
def known(output: Hotel, ids: list[str]) -> None: ...


@workflow
async def child(task: Task, trip: Trip) -> Hotel:
    return Hotel(id=trip.place)


@workflow(budget=Budget(usd=0.5, ask="ada"))
async def alone(task: Task) -> int:
    return 1


@workflow(name="renamed", version=2)
async def renamed(task: Task, trip: Trip) -> int:
    return 1


search = ToolRoute("search", [find], output=list[Hotel])
rank = ModelRoute("rank", ["openai:gpt"], choose=cheapest())


def at_home(asked: CallInfo, known: Sequence[CandidateStats]) -> Selection:
    return Selection([each.name for each in known if each.usd == 0], f"{asked.tokens} tokens stay here")


draft = ModelRoute("draft", ["openai:gpt", "ollama:qwen3"], choose=at_home)

assert_type(child, Workflow[Trip, Hotel])
assert_type(renamed, Workflow[Trip, int])
assert_type(alone, Workflow[None, int])


async def tools(task: Task, hotel: Hotel) -> None:
    assert_type(await task.tool(find, "Faro", count=2), list[Hotel])
    assert_type(await task.tool(book, hotel), str)
    assert_type(await task.tool(look_up, "Faro"), list[Hotel])
    assert_type(await task.tool(charge, hotel), str)
    assert_type(await task.tool(charge_or_withdraw, hotel), str)
    assert_type(await task.tool(search, place="Faro"), list[Hotel])
    assert_type(await task.tool("search", place="Faro"), Any)
    assert_type(await book(hotel), str)
    await task.tool(find, 7)  # type: ignore[call-overload]  # pyright: ignore[reportArgumentType, reportCallIssue]


async def undone(task: Task, hotel: Hotel) -> None:
    assert_type(await task.tool(book_or_cancel, hotel), str)
    assert_type(await task.tool(book_or_withdraw, hotel), str)
    assert_type(await task.tool(book.undone_by(cancel), hotel), str)
    find.undone_by(cancel)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    task.undo_by(cancel, "booking")
    task.undo_by(cancel, 7)  # type: ignore[call-overload]  # pyright: ignore[reportArgumentType, reportCallIssue]
    ToolRoute("book", [book], output=str, undo=cancel)
    async with task.saga() as saga:
        await saga.undo()


async def models(task: Task) -> None:
    assert_type(await task.model("rank", "which?"), str)
    assert_type(await task.model(rank, "which?", output=Hotel, check=known(ids=["a"])), Hotel)
    assert_type(await task.model(rank, "which?", output=list[Hotel]), list[Hotel])
    assert_type(await task.model(rank, "which?", check=judge("Is it quiet?", route=draft)), str)
    quiet = judge("Is it quiet?", route="draft", rules=["no bars"])
    assert_type(await task.model(rank, "which?", output=Hotel, check=[known(ids=["a"]), quiet]), Hotel)


async def people(task: Task, hotel: Hotel, day: timedelta) -> None:
    assert_type(await task.ask("ada", "which?"), str)
    assert_type(await task.ask("ada", "which?", options={"a": hotel}), Hotel)
    assert_type(
        await task.ask("ada", "which?", options={"a": hotel}, timeout=day, default=None), Hotel | None
    )
    assert_type(await task.ask("ada", "how many?", answer=int), int)
    assert_type(await task.ask("ada", "which?", options={"a": hotel}, answer=str), Hotel | str)
    assert_type(await task.signal("go"), Any)
    assert_type(await task.signal("go", int), int)


async def several(task: Task, hotel: Hotel) -> None:
    assert_type(await task.child(child, Trip("Faro")), Hotel)
    assert_type(await task.gather(task.tool(book, hotel), task.tool(book, hotel)), list[str])
    assert_type(await task.gather(task.tool(book, hotel), failures="return"), list[str | StepError])


async def programs(client: Client) -> None:
    assert_type(await client.run(child, Trip("Faro"), "t-1"), Hotel)
    assert_type(await client.run("child", {"place": "Faro"}), Any)
    assert_type(await client.start(child, Trip("Faro")), str)


def rehearsed(app: App, hotel: Hotel) -> None:
    def answer(prompt: str) -> Hotel:
        return hotel

    with Rehearsal(app, models={"rank": answer}, tools={"find": in_turn(TimeoutError(), [hotel])}) as play:
        assert_type(play, Rehearsal)
        assert_type(play.start(child, Trip("Faro")), str)
        assert_type(play.calls("find"), list[Call])
        assert_type(play.result(), Any)


def names(declared: Tool[..., Any]) -> None:
    assert_type(declared.name, str)
