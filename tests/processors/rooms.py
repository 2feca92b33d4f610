"""Rooms to reserve, each with its undo: what a task has done by the time that something ends it."""

from segue import Retryable, current_attempt, tool


@tool
async def cancel_room(room: str) -> str:
    return f"cancelled {room}"


@tool(undo=cancel_room)
async def reserve(place: str) -> str:
    return f"{place} 1"


@tool(undo=cancel_room)
async def reserve_later() -> str:
    if current_attempt().attempt == 1:
        raise Retryable("busy", retry_after_s=60)
    return "later"
