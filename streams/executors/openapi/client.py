"""Calls operations of services that OpenAPI documents describe.

    408, 409, 425, 429, most 5xx, no connection      retryable, after what `Retry-After` says
    any other status but 2xx, redirects too          permanent
    a response outside of its schema, or too large   permanent: the effect is done, the answer is no use
    no such operation, arguments that do not fit     permanent, and nothing was sent

A document is read when it is first needed and kept; one by URL is read again when it lacks an operation.
"""

import asyncio
import json
import logging
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx

from segue.processors.routing.openapi import OpenApi
from segue.streams.calls.failures import http_message, may_retry, retry_after_s
from segue.streams.executors.connections import spread
from segue.streams.executors.openapi.document import Document, Operation, is_json
from segue.streams.executors.openapi.request import Request, request_of
from segue.streams.executors.openapi.security import authorize
from segue.topics.errors import Permanent, Retryable

log = logging.getLogger(__name__)

DOCUMENT_BYTES_MAX = 50_000_000
DOCUMENT_S_MAX = 30.0

CONNECT_S_MAX = 30.0
"""For the whole call the policy's time-out holds."""

DETAIL_CHARS_MAX = 500
"""What a service says of an error."""

NOT_IDEMPOTENT = ("POST", "PATCH")


class Service:
    """One `OpenApi`: its document, and the connections to its server."""

    def __init__(self, api: OpenApi) -> None:
        self._api = api
        self._http = httpx.AsyncClient(timeout=httpx.Timeout(None, connect=CONNECT_S_MAX))
        spread(self._http)
        self._document: Document | None = None
        self._reading = asyncio.Lock()

    async def call(self, operation: str, arguments: dict[str, Any], idempotency_key: str) -> Any:
        """The response as a JSON value. Raises `Retryable` or `Permanent`."""
        try:
            found = await self._operation(operation)
            request = request_of(found, arguments, self._api.server)
            authorize(request, found, self._api.secrets)
            if found.method in NOT_IDEMPOTENT and self._api.idempotency_header:
                request.headers.setdefault(self._api.idempotency_header, idempotency_key)
            return await self._answer(found, request)
        except Permanent as error:
            raise Permanent(f"{self._api.label}.{operation}: {error}") from error
        except Retryable as error:
            raise Retryable(
                f"{self._api.label}.{operation}: {error}", retry_after_s=error.retry_after_s
            ) from error

    async def stop(self) -> None:
        await self._http.aclose()

    # ------------------------------------------------------------ the document

    async def _operation(self, name: str) -> Operation:
        document = await self._read()
        try:
            return document.operation(name)
        except Permanent:
            if document.url is None:
                raise
        self._document = None
        return (await self._read()).operation(name)

    async def _read(self) -> Document:
        async with self._reading:
            if self._document is None:
                self._document = await self._fetched()
                for sentence in self._document.unusable():
                    log.warning("%s: its document: %s", self._api.label, sentence)
            return self._document

    async def _fetched(self) -> Document:
        source = self._api.source
        if not isinstance(source, str):
            return Document(source)
        if not source.startswith(("http://", "https://")):
            return Document(await asyncio.to_thread(lambda: _parsed(_of_file(source))))
        try:
            async with asyncio.timeout(DOCUMENT_S_MAX):
                status, headers, body = await self._exchange(Request("GET", source), DOCUMENT_BYTES_MAX)
        except TimeoutError:
            raise Retryable(f"its document did not come within {DOCUMENT_S_MAX:g} s") from None
        _raise_for(status, headers, body)
        text = body.decode(errors="replace")
        return Document(await asyncio.to_thread(_parsed, text), source)

    # ------------------------------------------------------------ the call

    async def _answer(self, operation: Operation, request: Request) -> Any:
        status, headers, body = await self._exchange(request, self._api.bytes_max)
        _raise_for(status, headers, body)
        kind = headers.get("content-type", "").partition(";")[0].strip().lower()
        if not body or operation.method == "HEAD":
            value = None
        elif is_json(kind):
            value = _json(body)
        elif kind.startswith("text/") or not kind:
            value = body.decode(errors="replace")
        else:
            raise Permanent(f"it answered {kind}: only JSON and text can be taken")
        schema = operation.response(status, kind) if body else None
        if schema is not None and (fault := schema.faults(value, written=False)):
            raise Permanent(f"its answer is not what the document says: {fault}")
        return value

    async def _exchange(self, request: Request, bytes_max: int) -> tuple[int, httpx.Headers, bytes]:
        """Reads no more of the response than is allowed, unpacked."""
        headers = request.headers | {"Accept": "application/json, text/*;q=0.5"}
        if request.cookies:
            headers["Cookie"] = "; ".join(f"{name}={value}" for name, value in request.cookies)
        query: Any = request.query or None
        asked = self._http.stream(
            request.method, request.url, params=query, headers=headers, content=request.body
        )
        body = bytearray()
        try:
            async with asked as response:
                async for chunk in response.aiter_bytes():
                    body += chunk
                    if len(body) > bytes_max:
                        raise Permanent(f"it answered with more than {bytes_max:,} bytes (`bytes_max`)")
                return response.status_code, response.headers, bytes(body)
        except (httpx.UnsupportedProtocol, httpx.InvalidURL, httpx.LocalProtocolError) as error:
            raise Permanent(f"it can't be asked: {error}") from None
        except httpx.TransportError as error:
            where = urlsplit(request.url).netloc.rpartition("@")[2]
            raise Retryable(f"no connection to {where}: {str(error) or type(error).__name__}") from None


def _raise_for(status: int, headers: httpx.Headers, body: bytes) -> None:
    if 200 <= status < 300:
        return
    said = " ".join(body[: 4 * DETAIL_CHARS_MAX].decode(errors="replace").split())[:DETAIL_CHARS_MAX]
    if 300 <= status < 400:
        said = f"it is at {headers.get('location', 'another address')}: give that as OpenApi(…, server=)"
    message = http_message(status, said)
    known = {name.lower(): value for name, value in headers.items()}
    if may_retry(status, known):
        raise Retryable(message, retry_after_s=retry_after_s(known))
    raise Permanent(message)


def _of_file(path: str) -> str:
    try:
        return Path(path).read_text()
    except OSError as error:
        raise Permanent(f"its document can't be read: {path}: {error.strerror}") from None


def _parsed(text: str) -> Any:
    """JSON or YAML."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        pass
    from segue.streams.executors.openapi.yaml import parsed  # loaded when a document needs it

    return parsed(text)


def _json(body: bytes) -> Any:
    try:
        return json.loads(body)
    except (ValueError, RecursionError) as error:
        raise Permanent(f"it answered what is no JSON: {error}") from None
