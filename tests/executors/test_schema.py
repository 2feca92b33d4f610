"""Values by schemas that anybody may have written."""

import asyncio

import pytest
from referencing.exceptions import Unresolvable

from streams.executors.schema import faults


async def test_nothing_is_fetched_for_a_reference_to_elsewhere() -> None:
    asked: list[bytes] = []

    async def note(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked.append(await reader.readline())
        writer.close()

    async with await asyncio.start_server(note, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        schema = {"properties": {"a": {"$ref": f"http://127.0.0.1:{port}/schema.json"}}}
        with pytest.raises(Unresolvable):
            await asyncio.to_thread(faults, schema, {"a": 1})
    assert asked == []


def test_what_is_wrong_is_told_with_its_place() -> None:
    schema = {"properties": {"a": {"items": {"type": "integer"}}}}
    assert faults(schema, {"a": [1, "x"]}) == "a.1: 'x' is not of type 'integer'"
    assert faults(schema, {"a": [1]}) is None
