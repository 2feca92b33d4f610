"""An app to rehearse: a model ranks, a person picks, a tool books, and what failed is undone."""

from datetime import timedelta
from typing import Any

from pydantic import BaseModel

from segue import (
    App,
    McpServer,
    ModelRoute,
    OpenApi,
    OutputRejected,
    Policy,
    Task,
    ToolRoute,
    Workflow,
    check,
    current_attempt,
    tool,
    workflow,
)


class Hotel(BaseModel):
    id: str
    price: int = 100


@tool
async def free(hotel_id: str) -> bool:
    return hotel_id != "h-3"


@tool
async def cancel(booking: str) -> None: ...


@tool(retries=2, undo=cancel)
async def book(hotel: Hotel) -> str:
    return f"{hotel.id} as {current_attempt().idempotency_key}"


@check
def affordable(hotels: list[Hotel], most: int) -> None:
    if any(hotel.price > most for hotel in hotels):
        raise OutputRejected(f"none above {most}")


hotels = McpServer("hotels", ("false",))
rates = OpenApi("https://rates.example/openapi.json")
rank = ModelRoute("rank", ["lab:large", "lab:small"], policy=Policy(retries=0))
search = ToolRoute("search", [hotels.tool("find"), rates.tool("getHotels")], output=list[str])


@workflow
async def trip(task: Task, wish: str) -> str | None:
    ranked = await task.model(rank, wish, output=list[Hotel], check=affordable(most=200))
    offers = [hotel for hotel in ranked if await task.tool(free, hotel.id)]
    options = {f"The {hotel.id}": hotel for hotel in offers}
    pick = await task.ask("ada", "Which one?", options=options, timeout=timedelta(days=2), default=None)
    if pick is None:
        return None
    return await task.tool(book, pick)


RANKED = [Hotel(id="h-1"), Hotel(id="h-2"), Hotel(id="h-3")]


def app(*workflows: Workflow[Any, Any], **more: Any) -> App:
    return App(
        "trips",
        workflows=[trip, *workflows],
        routes=[rank, search],
        tools=[free, book, cancel],
        checks=[affordable],
        **more,
    )
