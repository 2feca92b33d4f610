"""Server-sent events, as OpenAI's chat completions and Anthropic's messages stream an answer."""

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from typing import Any


@dataclass
class Streamed:
    """Answers piece by piece, by text or by the arguments of the tool that was given.

    After `breaks_after` pieces the connection is cut, once.
    """

    pieces: tuple[str, ...]
    by_tool: bool = False
    pause_s: float = 0.0
    breaks_after: int | None = None


async def events(said: Streamed, path: str, body: dict[str, Any]) -> AsyncIterator[str]:
    assert body["stream"] is True
    wire = _chat if path.endswith("/chat/completions") else _messages
    for number, event in enumerate(wire(said, body)):
        if said.breaks_after is not None and number > said.breaks_after:
            said.breaks_after = None
            raise ConnectionAbortedError("as the test has it")
        yield event
        await asyncio.sleep(said.pause_s)


def _chat(said: Streamed, body: dict[str, Any]) -> Iterator[str]:
    name = body["tools"][0]["function"]["name"] if said.by_tool else ""
    yield _chunk({"role": "assistant", "content": None if said.by_tool else ""})
    for number, piece in enumerate(said.pieces):
        called: dict[str, Any] = {"index": 0, "function": {"arguments": piece}}
        if number == 0:
            called |= {"id": "call_1", "type": "function", "function": {"name": name, "arguments": piece}}
        yield _chunk({"tool_calls": [called]} if said.by_tool else {"content": piece})
    yield _chunk({}, finish="tool_calls" if said.by_tool else "stop")
    usage = {"prompt_tokens": 11, "completion_tokens": 7, "total_tokens": 18}
    yield _data({**_CHUNK, "choices": [], "usage": usage})
    yield "data: [DONE]\n\n"


_CHUNK = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": "gpt-of-the-test"}


def _chunk(delta: dict[str, Any], finish: str | None = None) -> str:
    return _data({**_CHUNK, "choices": [{"index": 0, "delta": delta, "finish_reason": finish}]})


def _messages(said: Streamed, body: dict[str, Any]) -> Iterator[str]:
    message: dict[str, Any] = {
        "id": "msg_1",
        "type": "message",
        "role": "assistant",
        "model": "claude-of-the-test",
        "content": [],
        "stop_reason": None,
        "stop_sequence": None,
        "usage": {"input_tokens": 11, "output_tokens": 1},
    }
    block: dict[str, Any] = {"type": "text", "text": ""}
    if said.by_tool:
        block = {"type": "tool_use", "id": "toolu_1", "name": body["tools"][0]["name"], "input": {}}
    yield _named("message_start", message=message) + _named(
        "content_block_start", index=0, content_block=block
    )
    for piece in said.pieces:
        delta = {"type": "text_delta", "text": piece}
        if said.by_tool:
            delta = {"type": "input_json_delta", "partial_json": piece}
        yield _named("content_block_delta", index=0, delta=delta)
    yield _named("content_block_stop", index=0)
    ended = {"stop_reason": "tool_use" if said.by_tool else "end_turn", "stop_sequence": None}
    yield _named("message_delta", delta=ended, usage={"output_tokens": 7})
    yield _named("message_stop")


def _named(kind: str, **fields: Any) -> str:
    return f"event: {kind}\n" + _data({"type": kind, **fields})


def _data(body: dict[str, Any]) -> str:
    return f"data: {json.dumps(body)}\n\n"
