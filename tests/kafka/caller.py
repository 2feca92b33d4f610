"""`python -m tests.kafka.caller SETTINGS WORKER FILE`: the stage `tool`, noting the calls that it makes."""

import asyncio
import sys
from pathlib import Path

from segue.streams.settings import Settings
from segue.topics.records import CallTool
from tests.kafka.engine import running
from tests.kafka.test_engine_effects import Executor, tools

CALL_S = 0.05
IN_FLIGHT_MAX = 4


async def _main(settings: Settings, worker: str, file: Path) -> None:
    async def answer(call: CallTool) -> str:
        with file.open("a") as made:
            made.write(f"{call.step}\n")
        await asyncio.sleep(CALL_S)
        return "done"

    async with running(tools(settings, Executor(answer), worker, IN_FLIGHT_MAX)):
        await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(_main(Settings.model_validate_json(sys.argv[1]), sys.argv[2], Path(sys.argv[3])))
