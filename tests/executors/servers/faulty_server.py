"""A stdio MCP server that speaks the protocol by hand, with faults: `faulty_server.py FAULT [FILE]`."""

import json
import os
import signal
import sys
import time
from pathlib import Path
from typing import Any

ANY: dict[str, Any] = {"type": "object"}
GOOD: dict[str, Any] = {"name": "good", "inputSchema": ANY}


def listing(fault: str, cursor: str | None) -> dict[str, Any]:
    match fault:
        case "malformed":
            odd = [{"name": "odd", "inputSchema": 5}, {"name": "no_schema"}, {"inputSchema": ANY}, 7, None]
            return {"tools": [odd[0], GOOD, *odd[1:]]}
        case "no-list":
            return {"tools": {"good": GOOD}}
        case "twice":
            return {"tools": [GOOD, {"name": "good", "inputSchema": ANY, "description": "another"}]}
        case "circle":
            return {"tools": [GOOD], "nextCursor": "a" if cursor != "a" else "b"}
        case "huge":
            return {"tools": [GOOD, *({"name": f"t{n}", "inputSchema": ANY} for n in range(20_000))]}
        case _:
            return {"tools": [GOOD]}


def called(fault: str) -> dict[str, Any]:
    match fault:
        case "deep":
            deep: Any = 1
            for _ in range(120):
                deep = [deep]
            return {"content": [], "structuredContent": {"deep": deep}}
        case "long":
            return {"content": [{"type": "text", "text": "x" * 30_000_000}]}
        case "no-result":
            return {"content": 5}
        case "stderr":
            for _ in range(500):
                sys.stderr.write("x" * 65_536)
            sys.stderr.flush()
        case "stderr-lines":
            for _ in range(500):
                sys.stderr.write("line\n" * 13_000)
            sys.stderr.flush()
        case "stdout":
            for n in range(200):
                print("no JSON" if n % 2 else json.dumps([n]), flush=True)
        case "dies" | "dies once":
            os._exit(1)
        case _:
            pass
    return {"content": [{"type": "text", "text": "done"}]}


def answer(fault: str, asked: dict[str, Any]) -> dict[str, Any] | None:
    given: dict[str, Any] = asked.get("params") or {}
    match asked["method"]:
        case "initialize":
            version = asked["params"]["protocolVersion"]
            info = {"name": "faulty", "version": "1"}
            return {"protocolVersion": version, "capabilities": {"tools": {}}, "serverInfo": info}
        case "tools/list":
            return listing(fault, given.get("cursor"))
        case "tools/call":
            meta: dict[str, Any] = given.get("_meta") or {}
            note(f"called with {meta.get('segue/idempotency-key')}")
            return called(fault)
        case _:
            return None


def serve(fault: str) -> None:
    for line in sys.stdin:
        asked = json.loads(line)
        if "id" not in asked:
            continue
        result = answer(fault, asked)
        error = {"code": -32601, "message": "no such method"}
        said = {"result": result} if result is not None else {"error": error}
        print(json.dumps({"jsonrpc": "2.0", "id": asked["id"], **said}), flush=True)


def note(what: str) -> None:
    for name in sys.argv[2:]:
        with Path(name).open("a") as file:
            file.write(f"{what}\n")


def main() -> None:
    fault, *more = sys.argv[1:]
    if fault == "dies once" and Path(more[0]).exists() and "called" in Path(more[0]).read_text():
        fault = "none"
    note(str(os.getpid()))
    if fault == "hangs":
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    serve(fault)
    while fault == "hangs":  # its standard input has ended, and it does not care
        time.sleep(1)


if __name__ == "__main__":
    main()
