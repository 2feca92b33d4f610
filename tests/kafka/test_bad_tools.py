"""What tools do that they must not: each is on record, the policy is applied, and nothing is stuck."""

import asyncio
import sys
from pathlib import Path

from segue.streams.client.client import Client
from segue.streams.kafka.provisioning import provision
from segue.streams.settings import Settings
from segue.topics import codec
from tests.executors.servers.rude_server import INSTRUCTION
from tests.kafka.conftest import worker_environment

ROOT = Path(__file__).parents[2]
PATIENCE_S = 180.0
"""20 MB go through a pipe, and a library that was not made for it."""


async def test_bad_answers_fail_their_steps_and_nothing_else(settings: Settings) -> None:
    await provision(settings)
    env = worker_environment(settings) | {
        "RUDE_SERVER": str(ROOT / "tests/executors/servers/rude_server.py"),
    }
    command = (sys.executable, "-m", "segue.streams.cli", "worker", "tests/kafka/rude")
    worker = await asyncio.create_subprocess_exec(*command, env=env, cwd=ROOT)
    try:
        async with Client(settings) as client:
            task = await client.start("meet")
            result = await client.result(task, PATIENCE_S)
            history = await client.history(task)
    finally:
        worker.terminate()
        await worker.wait()
    assert result.outcome == "succeeded", result.problem
    assert result.result.pop("forbidden").startswith("failed: forbidden: tool 'forbidden' returned str, not ")
    assert result.result.pop("forbidden_by_mcp").startswith(
        "failed: forbidden_by_mcp: rude.forbidden: tool 'forbidden' answered outside of its output schema"
    )
    assert result.result == {
        "large": "failed: large: large answered with 50,000,002 bytes, "
        "over the 32,000,000 of its policy's result_bytes_max",
        "large_by_mcp": "failed: large_by_mcp: rude.large answered with 20,000,002 bytes, "
        "over the 10,000,000 of its policy's result_bytes_max",
        "no_text": "failed: no_text: tool 'no_text' returned str, not what it declares: JSON can't hold it: "
        "Error serializing to JSON: "
        "UnicodeEncodeError: 'utf-8' codec can't encode character '\\udce9' in position 3: "
        "surrogates not allowed",
        "no_number": "failed: no_number: tool 'no_number' returned float, not what it declares: "
        "JSON can't hold it: JSON has no NaN and no infinity, so give None or text",
        "raises_no_text": "failed: raises_no_text: ValueError: caf\\udce9.txt is not there",
        "interrupts": "failed: interrupts: KeyboardInterrupt: by the tool itself",
        "instructs_by_mcp": INSTRUCTION,  # data, like any other: what a model makes of it is the next step's
        "dies_by_mcp": "good",
        "hangs_by_mcp": "good",
    }
    failures = [codec.decode("failures", each.value) for each in history if each.topic == "failures"]
    told = {(each.call.route, each.call.attempt): each.problem.message for each in failures}
    assert told["dies_by_mcp", 1] == told["dies_by_mcp", 2] == "MCP server 'rude' ended during the call"
    assert told["hangs_by_mcp", 1] == "no answer within 2 s"
    assert sum(each.topic == "dead-letters" for each in history) == 8
