"""A real HTTP service with an OpenAPI document (3.1) of its own, which notes what it was asked."""

import asyncio
import socket
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route

from tests.executors.servers.serving import served

PET: dict[str, Any] = {"id": 1, "name": "Rex", "owner": None, "kin": []}

NUMBER = {"type": ["integer", "null"], "minimum": 0}


def said(schema: dict[str, Any]) -> dict[str, Any]:
    return {"200": {"description": "", "content": {"application/json": {"schema": schema}}}}


DOCUMENT: dict[str, Any] = {
    "openapi": "3.1.0",
    "info": {"title": "The Store", "version": "1"},
    "servers": [{"url": "/v3"}],
    "paths": {
        "/stock/{place}": {
            "get": {
                "operationId": "stock",
                "parameters": [
                    {"name": "place", "in": "path", "required": True, "schema": {"type": "string"}},
                    {"name": "as", "in": "query", "schema": {"type": "string"}},
                ],
                "responses": said({"$ref": "#/components/schemas/Stock"}),
            }
        },
        "/hello": {"get": {"responses": {"200": {"description": "", "content": {"text/plain": {}}}}}},
        "/fails/{status}": {
            "post": {
                "operationId": "fail",
                "parameters": [
                    {"name": "status", "in": "path", "required": True, "schema": {"type": "integer"}},
                    {"name": "after", "in": "query", "schema": {"type": "string"}},
                ],
                "responses": {},
            }
        },
        "/large": {"get": {"operationId": "large", "responses": {}}},
        "/slow": {"get": {"operationId": "slow", "responses": {}}},
        "/nothing": {"put": {"operationId": "nothing", "responses": {"204": {"description": ""}}}},
        "/picture": {"get": {"operationId": "picture", "responses": {}}},
        "/secret": {
            "get": {"operationId": "secret", "security": [{"in_query": []}], "responses": {}},
        },
    },
    "components": {
        "schemas": {"Stock": {"type": "object", "required": ["pets"], "properties": {"pets": NUMBER}}},
        "securitySchemes": {"in_query": {"type": "apiKey", "in": "query", "name": "k"}},
    },
}


@dataclass
class Store:
    port: int
    asked: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])
    document: dict[str, Any] = field(default_factory=lambda: dict(DOCUMENT))

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def answer(self, request: Request) -> Response:
        body = await request.body()
        asked = {
            "method": request.method,
            "path": request.scope["raw_path"].decode().partition("?")[0],
            "query": list(request.query_params.multi_items()),
            "headers": dict(request.headers),
            "body": body.decode(),
        }
        self.asked.append(asked)
        first, *rest = request.path_params["path"].split("/")
        match first:
            case "pet" if request.method == "DELETE":
                return Response(status_code=204)
            case "pet" if rest[:1] == ["findByTags"]:
                return JSONResponse([PET])
            case "pet" if request.method == "POST":
                return JSONResponse(PET, 201)
            case "pet":
                return JSONResponse(PET if rest == ["1"] else {"id": 1, "owner": 7})
            case "stock":
                return JSONResponse({"pets": request.query_params.get("as", 3)})
            case "fails":
                after = request.query_params.get("after")
                headers = {"Retry-After": after} if after else {}
                return PlainTextResponse("so it is", int(rest[0]), headers=headers)
            case "large":
                return StreamingResponse(large(), media_type="application/json")
            case "slow":
                await asyncio.sleep(60)
                return Response()
            case "picture":
                return Response(b"\x89PNG", media_type="image/png")
            case "secret":
                return PlainTextResponse(f"not {request.url}", 403)
            case "nothing":
                return Response(status_code=204)
            case _:
                return PlainTextResponse("hello")

    async def describe(self, request: Request) -> Response:
        return JSONResponse(self.document)


async def large() -> AsyncGenerator[bytes]:
    """50 MB, if anybody reads so much of it."""
    for _ in range(50):
        yield b'"' + b"x" * 1_000_000


@asynccontextmanager
async def store() -> AsyncGenerator[Store]:
    listening = socket.create_server(("127.0.0.1", 0))
    there = Store(listening.getsockname()[1])
    methods = ["GET", "PUT", "POST", "DELETE"]
    routes = [
        Route("/openapi.json", there.describe),
        Route("/v3/{path:path}", there.answer, methods=methods),
    ]
    async with served(Starlette(routes=routes), listening):
        yield there
