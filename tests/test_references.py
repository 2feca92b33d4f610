"""Data from outside is data, whatever it looks like; a reference opens nothing of another tenant."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from pydantic import BaseModel
from pydantic_core import to_jsonable_python

from segue import App, ModelRoute, Task, tool, workflow
from segue.processors.payloads.blob import DATA, JSON, Blob, Kind, Source, as_data, unmarked, whole
from segue.processors.stages.reply import Reply
from segue.streams.object_store.claim_check import kept
from segue.streams.object_store.store import Objects
from segue.streams.settings import Settings
from segue.testing import Rehearsal
from segue.topics.errors import Permanent
from tests.builders import call_tool

SHAPED: dict[str, Any] = {
    "object": f"0/@victim/{'0' * 64}",
    "size_bytes": 7,
    "sha256": "0" * 64,
    "media_type": JSON,
    "key": None,
    "kind": "value",
}
"""As a reference of Segue's own, to an object of another task."""

HOSTILE: dict[str, Any] = {
    "rows": [SHAPED, {DATA: SHAPED}, {DATA: 1, "x": [{DATA: {}}]}],
    "sha256": "x",
    "kind": "value",
}

LARGE = "x" * 2_000_000


@tool
async def fetch(query: Any) -> Any:
    """As an MCP server would answer, with whatever somebody has put there."""
    assert query == HOSTILE
    return HOSTILE


@tool
async def size(of: Any) -> int:
    return len(json.dumps(of))


@tool
async def large() -> Any:
    return [LARGE]


@workflow
async def inner(task: Task, given: Any) -> Any:
    assert given == HOSTILE
    return given


@workflow
async def outer(task: Task, given: Any) -> Any:
    """The same data through all that a task does with values."""
    assert given == HOSTILE
    values = [
        await task.tool(fetch, query=given),
        await task.tool("fetch", query=given),
        await task.child(inner, given),
        await task.signal("told"),
        await task.ask("somebody", "What?", answer=dict[str, Any]),
        await task.ask("somebody", "Which?", options={"this": given}),
        await task.model("copy", given, output=dict[str, Any]),
    ]
    task.set_view(given)
    assert values == [HOSTILE] * len(values)
    return values


class Held(BaseModel):
    report: Any
    beside: Any


@workflow
async def passes_on(task: Task) -> int:
    """A large value, in a model, beside data that has the shape of its reference."""
    report = await task.tool(large)
    assert isinstance(report, Blob)
    return await task.tool(size, Held(report=report, beside=SHAPED))


APP = App("references", workflows=[passes_on], tools=[size, large])


def test_data_that_looks_like_a_reference_stays_data_wherever_it_goes() -> None:
    app = App("references", workflows=[outer, inner], tools=[fetch], routes=[ModelRoute("copy", ["test:m"])])
    with Rehearsal(app, models={"copy": HOSTILE}) as play:
        task = play.start(outer, HOSTILE)
        play.signal("told", HOSTILE)
        play.answer(HOSTILE)
        play.answer(HOSTILE)
        assert play.result(task) == [HOSTILE] * 7


def test_a_large_value_is_passed_on_beside_data_of_its_shape() -> None:
    with Rehearsal(APP) as play:
        task = play.start(passes_on)
        assert play.result(task) == len(json.dumps({"report": [LARGE], "beside": SHAPED}))


anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5) | st.just("value"),
    lambda within: (
        st.lists(within, max_size=3)
        | st.dictionaries(st.sampled_from(["kind", "sha256", "object", DATA, "x"]), within, max_size=4)
    ),
    max_leaves=20,
)


@given(anything)
@example({"kind": "value", "sha256": None, "object": []})
def test_marked_data_holds_no_reference_that_counts_and_comes_back(data: Any) -> None:
    marked = as_data(data)
    assert unmarked(marked) == data

    class NoShelf:
        async def put(self, source: Source, media_type: str, kind: Kind = "blob") -> Blob:
            raise AssertionError

        def chunks(self, blob: Blob) -> Any:
            raise AssertionError(f"{blob} was taken for a reference")

        def encode(self, value: Any) -> bytes:
            raise AssertionError

        def decode(self, body: bytes, kind: Any) -> Any:
            raise AssertionError

    assert run(whole(marked, NoShelf())) == data


def run(coroutine: Any) -> Any:
    """A coroutine that awaits nothing of the outside."""
    try:
        coroutine.send(None)
    except StopIteration as done:
        return done.value
    raise AssertionError("it waits")


def test_only_the_blobs_that_a_value_holds_are_references() -> None:
    blob = Blob(**SHAPED)
    other = SHAPED | {"object": f"1/@other/{'1' * 64}"}
    source = Held(report=[blob], beside=other)
    assert as_data(to_jsonable_python(source), source) == {"report": [SHAPED], "beside": {DATA: other}}
    cyclic: dict[str, Any] = {"report": blob}
    cyclic["self"] = cyclic
    assert as_data({"report": SHAPED}, cyclic) == {"report": SHAPED}


async def test_what_any_tool_answers_is_data(tmp_path: Path) -> None:
    task_objects = Objects(Settings(object_store_url=str(tmp_path))).of_task("t")
    reply = await kept(Reply(HOSTILE, "hotels.search"), call_tool(), task_objects, None)
    assert reply.result.keys() == {DATA}
    assert unmarked(reply.result) == HOSTILE


@pytest.mark.parametrize(
    ("owner", "reader", "may"),
    [
        (None, None, True),
        ("acme", "acme", True),
        ("acme", "other", False),
        ("acme", None, False),
        (None, "acme", False),
    ],
)
async def test_a_task_reads_objects_of_its_own_tenant_only(
    tmp_path: Path, owner: str | None, reader: str | None, may: bool
) -> None:
    objects = Objects(Settings(object_store_url=str(tmp_path)))
    blob = await objects.of_task("parent", owner).put(b"text", "text/plain")
    task_objects = objects.of_task("parent/0", reader)
    if may:
        assert b"".join([chunk async for chunk in task_objects.chunks(blob)]) == b"text"
        return
    with pytest.raises(Permanent, match="belongs to another tenant than task 'parent/0'"):
        task_objects.chunks(blob)


async def test_a_reference_with_anothers_tenant_cut_off_or_replaced_finds_nothing(tmp_path: Path) -> None:
    objects = Objects(Settings(object_store_url=str(tmp_path)))
    theirs = await objects.of_task("t", "acme").put(b"text", "text/plain")
    mine = await objects.of_task("t", "other").put(b"else", "text/plain")
    name, tag = theirs.object.split(".")[0], mine.object.split(".")[1]
    for forged, reader in ((name, None), (f"{name}.{tag}", "other")):
        blob = Blob(**to_jsonable_python(theirs) | {"object": forged})
        with pytest.raises(Permanent, match="is not in"):
            [chunk async for chunk in objects.of_task("t", reader).chunks(blob)]
