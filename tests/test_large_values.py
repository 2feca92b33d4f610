"""Values that a workflow holds and passes on, larger than a record: they go by way of the object store."""

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
from pydantic_ai import Agent
from pydantic_ai.messages import ModelMessage, ModelResponse, ToolReturnPart
from pydantic_ai.models.function import AgentInfo, FunctionModel

from segue import App, ModelRoute, Task, check, tool, workflow
from segue.agents import Durable
from segue.processors.payloads.blob import Blob, is_value, whole
from segue.processors.payloads.large import HELD_BYTES_MAX, PIECE_BYTES
from segue.streams.object_store.store import Objects
from segue.streams.settings import Settings
from segue.streams.testing.replay import Replay
from segue.testing import Rehearsal
from segue.topics.contracts import PAYLOAD_BYTES_MAX
from segue.topics.errors import OutputRejected, Permanent, TooLarge
from tests.agents import calls, text
from tests.driver import Driver

LARGE = "x" * 2_000_000

SHAPED: dict[str, Any] = {
    "object": f"0/@victim/{'0' * 64}",
    "size_bytes": 7,
    "sha256": "0" * 64,
    "media_type": "application/json",
    "key": None,
    "kind": "value",
}
"""Data that looks like a reference of Segue's own."""


@tool
async def size(of: Any, beside: Any = None) -> int:
    return len(json.dumps([of, beside]))


@tool
async def novel() -> str:
    return "n" * 1_500_000


@tool
async def refuse(note: str) -> None:
    assert note == LARGE


@tool(undo=refuse)
async def begin() -> str:
    return LARGE


@check
async def no_longer_than(answer: str, sample: str) -> None:
    if len(answer) > len(sample):
        raise OutputRejected("too long")


@workflow
async def echo(task: Task, given: Any) -> Any:
    """It has only the reference, and passes that on."""
    assert isinstance(given, Blob)
    assert await task.tool(size, given) == len(json.dumps([[LARGE, SHAPED], None]))
    return given


@workflow
async def passes_on(task: Task) -> dict[str, Any]:
    """Its own data, beside data of a reference's shape and the reference of a larger one."""
    told = await task.tool(novel)
    held = {"own": LARGE, "shaped": SHAPED, "told": told}
    return {
        "size": await task.tool(size, held, SHAPED),
        "by name": await task.tool("size", of=held),
        "answer": await task.model("short", held, check=no_longer_than(sample=LARGE)),
        "child": await task.child(echo, [LARGE, SHAPED]),
    }


@workflow
async def grows(task: Task, text: str | None = None) -> int:
    """What it goes on with is larger than a record, and the next run passes it on."""
    if isinstance(text, Blob):
        return await task.tool(size, text)
    await task.sleep(1)
    return task.continue_as_new(LARGE)


@workflow
async def returns(task: Task) -> list[Any]:
    return [LARGE, SHAPED]


@workflow
async def undoes(task: Task) -> None:
    task.undo_by(refuse, LARGE)
    await task.sleep(1)
    raise Permanent("it fails now")


APP = App(
    "large",
    workflows=[passes_on, echo, grows, returns],
    tools=[size, novel],
    checks=[no_longer_than],
    routes=[ModelRoute("short", ["test:m"])],
)
HELD = {"own": LARGE, "shaped": SHAPED, "told": "n" * 1_500_000}


def driver(tmp_path: Path, app: App, **options: Any) -> Driver:
    objects = Objects(Settings(object_store_url=str(tmp_path), partitions=1))
    return Driver(app, {"short": _short}, objects=objects, **options)


def _short(call: Any) -> str:
    assert call.prompt == HELD
    return "yes"


def played(tmp_path: Path, app: App, workflow: str, **options: Any) -> Driver:
    driving = driver(tmp_path, app, **options)
    driving.submit(workflow)
    driving.run()
    return driving


def loaded(tmp_path: Path, value: Any) -> Any:
    task_objects = Objects(Settings(object_store_url=str(tmp_path), partitions=1)).of_task("t")
    return asyncio.run(whole(value, task_objects))


def largest(driving: Driver) -> int:
    """The size of the largest record, or entry of the state."""
    records = [len(record.value or b"") for log in driving.logs.values() for record in log]
    return max(records + [len(value) for value in driving.state["conduct"].entries.values()])


CRASHES = [dict.fromkeys(range(first, 200, 3), 0) for first in range(3)]


@pytest.mark.parametrize("options", [{"forgets": True}, *({"crashes": crashes} for crashes in CRASHES)])
def test_whatever_a_workflow_passes_on_may_be_larger_than_a_record(
    tmp_path: Path, options: dict[str, Any]
) -> None:
    """Played again for each event, or crashed in every third act, it refers to the same objects."""
    driving = played(tmp_path, APP, "passes_on", **options)
    assert driving.result().problem is None
    assert loaded(tmp_path, driving.result().result) == {
        "size": len(json.dumps([HELD, SHAPED])),
        "by name": len(json.dumps([HELD, None])),
        "answer": "yes",
        "child": [LARGE, SHAPED],
    }
    assert largest(driving) < 10_000
    assert len(list(tmp_path.rglob("@*/*"))) == len({f.name for f in tmp_path.rglob("@*/*")}) == 4


def test_a_run_may_go_on_with_more_than_a_record_holds(tmp_path: Path) -> None:
    driving = played(tmp_path, APP, "grows", forgets=True)
    assert driving.result().result == len(json.dumps([LARGE, None]))
    assert largest(driving) < 10_000


def test_a_result_may_be_larger_than_a_record(tmp_path: Path) -> None:
    driving = played(tmp_path, APP, "returns")
    assert is_value(driving.result().result)
    assert loaded(tmp_path, driving.result().result) == [LARGE, SHAPED]
    with Rehearsal(APP) as play:
        assert play.result(play.start(returns)) == [LARGE, SHAPED]


def test_an_undo_may_be_given_more_than_a_record_holds(tmp_path: Path) -> None:
    app = App("undoes", workflows=[undoes], tools=[refuse])
    result = played(tmp_path, app, "undoes").result()
    assert (result.outcome, result.not_undone) == ("failed", ())


def test_what_waits_beside_a_large_input_may_be_large_too(tmp_path: Path) -> None:
    """Signals that nobody took stand in the record that begins the next run."""

    @workflow
    async def run(task: Task, text: str = "") -> str:
        if text:
            return await task.signal("kept", str)
        await task.signal("go")
        return task.continue_as_new("y" * 600_000)

    driving = driver(tmp_path, App("again", workflows=[run]))
    driving.submit("run", "")
    driving.run()
    for name, value in (("kept", "k" * 600_000), ("go", None)):
        driving.produce("signals", {"kind": "signal", "task": "t", "name": name, "value": value})
    driving.run()
    assert driving.result().result == "k" * 600_000


def test_more_than_a_task_may_hold_is_refused_where_it_is_given(tmp_path: Path) -> None:
    @workflow
    async def run(task: Task) -> list[str]:
        refused: list[str] = []
        for ask in (
            lambda: task.tool(size, "x" * HELD_BYTES_MAX),
            lambda: task.model("short", "hm", instructions="x" * PAYLOAD_BYTES_MAX),
        ):
            try:
                await ask()
            except TooLarge as error:
                refused.append(str(error))
        await task.tool(size, "it goes on")
        return refused

    app = App("one", workflows=[run], tools=[size], routes=[ModelRoute("short", ["test:m"])])
    driving = played(tmp_path, app, "run", forgets=True)
    argument, instructions = driving.result().result
    assert "at most 16,777,216 can be sent: let a tool write the data to a Blob" in argument
    assert "pass large text as the prompt or as an argument" in instructions
    assert list(tmp_path.rglob("@*")) == []


def test_a_wrong_output_that_is_too_large_to_be_told_fails_its_step(tmp_path: Path) -> None:
    """Its critique holds it, and so does the call that asks again: a record of both would not fit."""

    @workflow
    async def run(task: Task) -> int:
        return await task.model("count", "How many?", output=int)

    app = App("one", workflows=[run], routes=[ModelRoute("count", ["test:m"])])
    driving = Driver(app, {"count": lambda call: "many " * 120_000})
    driving.submit("run")
    driving.run()
    problem = driving.result().problem
    assert problem is not None
    assert problem.type == "TooLarge"
    assert "the model is not asked again" in problem.message


def test_replay_plays_what_is_in_the_store_again_and_sees_what_changed(tmp_path: Path) -> None:
    for name in ("passes_on", "grows", "returns"):
        driving = played(tmp_path / name, APP, name)
        history = [*driving.logs["events"], *driving.logs["results"]]
        replay = Replay(APP, [record for record in history if record.key == b"t"])
        assert list(replay)
        assert (replay.parked, replay.different_ending) == (None, None)

    @workflow(name="returns")
    async def other(task: Task) -> list[Any]:
        return [LARGE, {}]

    changed = Replay(App("changed", workflows=[other]), history)
    assert list(changed)
    assert "the log ends with" in (changed.different_ending or "")


# ---------------------------------------------------------------- an agent's conversation


LETTERS = 8
LETTER = "l" * 300_000


def answer(messages: list[ModelMessage], info: AgentInfo) -> ModelResponse:
    """Reads letter after letter, each of them in the conversation from then on."""
    parts = [part for message in messages for part in message.parts]
    read = [part for part in parts if isinstance(part, ToolReturnPart)]
    assert all(part.content == f"{number} {LETTER}" for number, part in enumerate(read))
    return calls("letter", {"number": len(read)}) if len(read) < LETTERS else text(f"read {len(read)}")


clerk = Agent(FunctionModel(answer), name="clerk", deps_type=dict[str, Any], capabilities=[Durable()])


@clerk.tool_plain
async def letter(number: int) -> str:
    return f"{number} {LETTER}"


@workflow
async def reads(task: Task) -> str:
    return (await clerk.run("Read them.", deps=SHAPED)).output


CLERK = App("clerk", workflows=[reads], agents=[clerk])


@pytest.mark.parametrize("options", [{"forgets": True}, *({"crashes": crashes} for crashes in CRASHES)])
def test_an_agents_conversation_may_grow_beyond_a_record(tmp_path: Path, options: dict[str, Any]) -> None:
    driving = played(tmp_path, CLERK, "reads", **options)
    assert driving.result().result == f"read {LETTERS}"
    requests = {
        call.step: len(call.agent.large.get("messages", ())) for call in driving.records("model-calls")
    }
    assert list(requests.values()) == [0, 0, 0, 2, 3, 3, 4, 5, 5]
    assert max(len(record.value or b"") for record in driving.logs["model-calls"]) < PAYLOAD_BYTES_MAX


def test_what_a_conversation_had_is_stored_once(tmp_path: Path) -> None:
    driving = played(tmp_path, CLERK, "reads")
    pieces = [
        piece["object"]
        for call in driving.records("model-calls")
        for piece in call.agent.large.get("messages", ())
    ]
    requests = sum(bool(call.agent.large) for call in driving.records("model-calls"))
    full = [file for file in tmp_path.rglob("@*/*") if file.stat().st_size == PIECE_BYTES]
    assert len(full) == LETTERS * len(LETTER) // PIECE_BYTES
    assert len(set(pieces)) == len(full) + requests
    assert len(pieces) > len(set(pieces))
