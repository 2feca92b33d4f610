"""A server on this machine whose answers take 2 s: chat completions, whole or streamed, and a service.

    python -m benchmarks.slow.provider PORT

It speaks just enough HTTP for its clients, so that it takes little of the CPU that is measured. A streamed
answer begins at once and comes in `PIECES`. `GET /open` tells how many requests were open at once at most.
"""

import asyncio
import json
import sys
from typing import Any

ANSWER_S = 2.0
PIECES = 10
USAGE = {"prompt_tokens": 9, "completion_tokens": 9, "total_tokens": 18}
DOCUMENT: dict[str, Any] = {
    "openapi": "3.1.0",
    "info": {"title": "slow", "version": "1"},
    "paths": {
        "/work": {
            "post": {
                "operationId": "work",
                "requestBody": {
                    "content": {
                        "application/json": {
                            "schema": {"type": "object", "properties": {"n": {"type": "integer"}}}
                        }
                    }
                },
                "responses": {
                    "200": {"description": "done", "content": {"application/json": {"schema": {}}}}
                },
            }
        }
    },
}


class Provider:
    def __init__(self) -> None:
        self.open = 0
        self.open_max = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                path, length = head.split(b" ", 2)[1].decode(), _length(head)
                body: dict[str, Any] = json.loads(await reader.readexactly(length)) if length else {}
                self.open += 1
                self.open_max = max(self.open_max, self.open)
                try:
                    await self._answer(path, body, writer)
                finally:
                    self.open -= 1
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()

    async def _answer(self, path: str, body: dict[str, Any], writer: asyncio.StreamWriter) -> None:
        if path == "/openapi.json":
            host, port, *_ = writer.get_extra_info("sockname")
            _send(writer, DOCUMENT | {"servers": [{"url": f"http://{host}:{port}"}]})
        elif path == "/open":
            _send(writer, self.open_max)
        elif body.get("stream"):
            await _stream(writer)
        else:
            await asyncio.sleep(ANSWER_S)
            _send(writer, _completion() if "messages" in body else {"done": True})
        await writer.drain()


def _length(head: bytes) -> int:
    _, found, rest = head.lower().partition(b"content-length:")
    return int(rest.partition(b"\r\n")[0]) if found else 0


def _send(writer: asyncio.StreamWriter, value: object) -> None:
    body = json.dumps(value).encode()
    writer.write(
        b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n%s"
        % (len(body), body)
    )


def _completion() -> dict[str, Any]:
    message = {"role": "assistant", "content": "done"}
    return _head("chat.completion") | {
        "choices": [{"index": 0, "message": message, "finish_reason": "stop"}],
        "usage": USAGE,
    }


async def _stream(writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n")
    for piece in range(PIECES):
        _send_piece(writer, {"role": "assistant", "content": f"piece {piece} "}, None)
        await asyncio.sleep(ANSWER_S / PIECES)
    _send_piece(writer, {}, "stop")
    _send_chunk(writer, b"data: [DONE]\n\n")
    writer.write(b"0\r\n\r\n")


def _send_piece(writer: asyncio.StreamWriter, delta: dict[str, str], reason: str | None) -> None:
    choices = [{"index": 0, "delta": delta, "finish_reason": reason}]
    piece = _head("chat.completion.chunk") | {"choices": choices, "usage": USAGE if reason else None}
    _send_chunk(writer, b"data: %s\n\n" % json.dumps(piece).encode())


def _send_chunk(writer: asyncio.StreamWriter, chunk: bytes) -> None:
    writer.write(b"%x\r\n%s\r\n" % (len(chunk), chunk))


def _head(kind: str) -> dict[str, Any]:
    return {"id": "slow", "object": kind, "created": 0, "model": "slow"}


async def main() -> None:
    server = await asyncio.start_server(Provider().serve, "127.0.0.1", int(sys.argv[1]), backlog=4096)
    print("ready", flush=True)
    async with server:
        await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main())
