"""How providers write an answer: the body of a response, by the path that was asked."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

Finish = Literal["stop", "length", "content_filter"]


@dataclass
class Said:
    """What the model answers: `text`, or by a call of the tool that it was given."""

    text: str = ""
    tool: str | None = None
    """The arguments of the tool call, as the text that a model would write."""
    finish: Finish = "stop"


Wire = Callable[[Said, dict[str, Any]], dict[str, Any]]
"""The body of the response to what was asked."""


def wire_of(path: str) -> Wire:
    return next(wire for ending, wire in _WIRES.items() if path.endswith(ending))


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


def _generate_content(said: Said, body: dict[str, Any]) -> dict[str, Any]:
    part: dict[str, Any] = {"text": said.text}
    if said.tool is not None:
        name = body["tools"][0]["functionDeclarations"][0]["name"]
        part = {"functionCall": {"name": name, "args": json.loads(said.tool)}}
    reason = {"stop": "STOP", "length": "MAX_TOKENS", "content_filter": "SAFETY"}[said.finish]
    return {
        "candidates": [{"content": {"role": "model", "parts": [part]}, "finishReason": reason, "index": 0}],
        "usageMetadata": {"promptTokenCount": 11, "candidatesTokenCount": 7, "totalTokenCount": 18},
        "modelVersion": "gemini-of-the-test",
        "responseId": "response-1",
    }


def _converse(said: Said, body: dict[str, Any]) -> dict[str, Any]:
    content: dict[str, Any] = {"text": said.text}
    if said.tool is not None:
        name = body["toolConfig"]["tools"][0]["toolSpec"]["name"]
        content = {"toolUse": {"toolUseId": "tool_1", "name": name, "input": json.loads(said.tool)}}
    stop = {"stop": "end_turn", "length": "max_tokens", "content_filter": "content_filtered"}[said.finish]
    return {
        "output": {"message": {"role": "assistant", "content": [content]}},
        "stopReason": "tool_use" if said.tool is not None and stop == "end_turn" else stop,
        "usage": {"inputTokens": 11, "outputTokens": 7, "totalTokens": 18},
        "metrics": {"latencyMs": 1},
    }


def _cohere_chat(said: Said, body: dict[str, Any]) -> dict[str, Any]:
    message: dict[str, Any] = {"role": "assistant", "content": [{"type": "text", "text": said.text}]}
    if said.tool is not None:
        function = {"name": body["tools"][0]["function"]["name"], "arguments": said.tool}
        message = {
            "role": "assistant",
            "tool_calls": [{"id": "call_1", "type": "function", "function": function}],
        }
    finish = {"stop": "COMPLETE", "length": "MAX_TOKENS", "content_filter": "ERROR"}[said.finish]
    tokens = {"input_tokens": 11, "output_tokens": 7}
    return {
        "id": "chat-1",
        "finish_reason": "TOOL_CALL" if said.tool is not None and finish == "COMPLETE" else finish,
        "message": message,
        "usage": {"billed_units": tokens, "tokens": tokens},
    }


_WIRES: dict[str, Wire] = {
    "/chat/completions": _chat,
    "/responses": _responses,
    "/messages": _messages,
    ":generateContent": _generate_content,
    "/converse": _converse,
    "/v2/chat": _cohere_chat,
}
