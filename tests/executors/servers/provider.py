"""A model provider on this machine: speaks the wire protocols of OpenAI (both) and Anthropic.

A test says what is answered next; every request is kept. The server is real: sockets, HTTP, JSON.
"""

import asyncio
import json
import socket
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Literal

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

from tests.executors.servers.serving import served
from tests.executors.servers.streaming import Streamed, events

SSE = "text/event-stream"
Finish = Literal["stop", "length", "content_filter"]


@dataclass
class Said:
    """What the model answers: `text`, or by a call of the tool that it was given."""

    text: str = ""
    tool: str | None = None
    """The arguments of the tool call, as the text that a model would write."""
    finish: Finish = "stop"


@dataclass
class Failed:
    status: int
    body: Any = field(default_factory=lambda: {"error": {"message": "it went wrong", "type": "test"}})
    headers: dict[str, str] = field(default_factory=dict[str, str])


@dataclass
class Silent:
    """Never answers."""


@dataclass
class Raw:
    """Answers 200 with these bytes."""

    body: str


@dataclass
class BrokenOff:
    """Begins to answer, and the connection ends in the middle of it."""


@dataclass
class Sent:
    """A request as it came."""

    path: str
    headers: dict[str, str]
    body: dict[str, Any]


@dataclass
class Provider:
    port: int
    next: Said | Failed | Silent | Raw | BrokenOff | Streamed = field(default_factory=Said)
    sent: list[Sent] = field(default_factory=list[Sent])

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def answer(self, request: Request) -> Response:
        body = await request.json()
        self.sent.append(Sent(request.url.path, dict(request.headers), body))
        match self.next:
            case Silent():
                await asyncio.sleep(3600)
                raise AssertionError
            case Failed(status, error, headers):
                return _json(error, status, headers)
            case BrokenOff():
                return Response('{"id": ', headers={"content-length": "500"}, media_type="application/json")
            case Streamed() as streamed:
                return StreamingResponse(events(streamed, request.url.path, body), 200, media_type=SSE)
            case Raw(text):
                return Response(text, media_type="application/json")
            case Said() as said:
                return _json(_WIRE[request.url.path](said, body))


def _json(body: Any, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    return Response(json.dumps(body), status, headers, media_type="application/json")


def _chat(said: Said, body: dict[str, Any]) -> dict[str, Any]:
    message: dict[str, Any] = {"role": "assistant", "content": said.text or None}
    finish: str = said.finish
    if said.tool is not None:
        name = body["tools"][0]["function"]["name"]
        message["tool_calls"] = [
            {"id": "call_1", "type": "function", "function": {"name": name, "arguments": said.tool}}
        ]
        finish = "tool_calls" if finish == "stop" else finish
    return {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 1,
        "model": "gpt-of-the-test",
        "choices": [{"index": 0, "message": message, "finish_reason": finish}],
        "usage": {"prompt_tokens": 11, "completion_tokens": 7, "total_tokens": 18},
    }


def _responses(said: Said, body: dict[str, Any]) -> dict[str, Any]:
    output: list[dict[str, Any]] = []
    if said.text:
        content: list[Any] = [{"type": "output_text", "text": said.text, "annotations": []}]
        output.append(
            {"type": "message", "id": "msg_1", "role": "assistant", "status": "completed", "content": content}
        )
    if said.tool is not None:
        name = body["tools"][0]["name"]
        output.append(
            {"type": "function_call", "id": "fc_1", "call_id": "call_1", "name": name, "arguments": said.tool}
        )
    reasons = {"length": "max_output_tokens", "content_filter": "content_filter"}
    return {
        "id": "resp_1",
        "object": "response",
        "created_at": 1,
        "model": "gpt-of-the-test",
        "status": "incomplete" if said.finish in reasons else "completed",
        "incomplete_details": {"reason": reasons[said.finish]} if said.finish in reasons else None,
        "output": output,
        "parallel_tool_calls": True,
        "tool_choice": "auto",
        "tools": [],
        "usage": {
            "input_tokens": 11,
            "output_tokens": 7,
            "total_tokens": 18,
            "input_tokens_details": {"cached_tokens": 0},
            "output_tokens_details": {"reasoning_tokens": 0},
        },
    }


def _messages(said: Said, body: dict[str, Any]) -> dict[str, Any]:
    content: list[dict[str, Any]] = [{"type": "text", "text": said.text}] if said.text else []
    if said.tool is not None:
        name = body["tools"][0]["name"]
        content.append({"type": "tool_use", "id": "toolu_1", "name": name, "input": json.loads(said.tool)})
    stop = {"stop": "end_turn", "length": "max_tokens", "content_filter": "refusal"}[said.finish]
    return {
        "id": "msg_1",
        "type": "message",
        "role": "assistant",
        "model": "claude-of-the-test",
        "content": content,
        "stop_reason": "tool_use" if said.tool is not None and stop == "end_turn" else stop,
        "stop_sequence": None,
        "usage": {"input_tokens": 11, "output_tokens": 7},
    }


_WIRE = {"/v1/chat/completions": _chat, "/v1/responses": _responses, "/v1/messages": _messages}


@asynccontextmanager
async def provider() -> AsyncGenerator[Provider]:
    listening = socket.create_server(("127.0.0.1", 0))
    there = Provider(listening.getsockname()[1])
    app = Starlette(routes=[Route(path, there.answer, methods=["POST"]) for path in _WIRE])
    async with served(app, listening):
        yield there
