"""What both services do with SQLite and HTTP: one writer at a time, and problems as JSON."""

import os
import sqlite3
from collections.abc import Generator
from contextlib import closing, contextmanager
from pathlib import Path

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response


@contextmanager
def transaction(path: Path) -> Generator[sqlite3.Connection]:
    """Looking and writing can't be interleaved with another's."""
    with closing(sqlite3.connect(path, isolation_level=None)) as database:
        database.row_factory = sqlite3.Row
        database.execute("BEGIN IMMEDIATE")
        try:
            yield database
        except BaseException:
            database.execute("ROLLBACK")
            raise
        database.execute("COMMIT")


def state_folder() -> Path:
    """Where this example keeps its databases."""
    folder = Path(os.environ.get("SEGUE_STATE_DIR", ".segue")) / "support"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def key_of(request: Request) -> str:
    key = request.headers.get("idempotency-key")
    if not key:
        raise HTTPException(400, "send an Idempotency-Key header, so that a repeated request counts once")
    return key


async def health(_: Request) -> Response:
    return JSONResponse({"status": "ok"})


async def problem(_: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    return JSONResponse({"detail": error.detail}, error.status_code)
