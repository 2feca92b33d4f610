"""All that is about a tenant's task is sealed with the tenant's key, whatever those who signal it say."""

from functools import cache
from pathlib import Path
from typing import Any

import pytest

from segue import App, Task, Tool, tool, workflow
from segue.processors.limits import Limits
from segue.streams.engine.tenants import Tenants
from segue.streams.security.encryption import Keys, enveloped
from segue.topics import contracts
from segue.topics.envelope import is_sealed
from segue.topics.flow import TENANT, Headers, Plain, tenant_in
from segue.topics.records import RecordsLost
from segue.topics.tokens import Tokens
from tests.corpus import CASES, Case
from tests.driver import START_MS
from tests.streams.keyfiles import key_file
from tests.streams.sealed import Sealed, key_id

SECRET = b"xyzzy-the-secret"


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return key_file(tmp_path_factory.mktemp("keys") / "keys", "one", acme="acme-1", bob="bob-1")


@cache
def played(file: Path, case: Case) -> Sealed:
    driver = Sealed(file, limits=Limits(cached_tasks_max=1))
    case.play(driver)
    return driver


def only_theirs(driver: Sealed) -> None:
    assert {topic: ids for topic, ids in driver.keys_used().items() if ids != {"acme-1"}} == {}


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_every_record_and_entry_of_a_tenants_task_is_sealed_with_its_key(file: Path, case: Case) -> None:
    """Workflows that use all of the API; signals come from a producer that names no tenant."""
    driver = played(file, case)
    assert driver.result().outcome == case.outcome
    only_theirs(driver)


def test_the_workflows_of_that_test_write_to_all_topics_but_those_beside(file: Path) -> None:
    """So that it tells something of each."""
    written = {topic for case in CASES for topic in played(file, case).keys_used()}
    beside = {topic.name for topic in contracts.ALL if topic.beside}
    assert written >= {topic.name for topic in contracts.ALL} - beside - {"tasks", "signals"}


# ---------------------------------------------------------------- what goes wrong, what comes from outside


@tool
async def echo(text: str) -> str:
    return text


@tool(retries=1, backoff_s=0.01)
async def breaks(text: str) -> str:
    raise OSError(text)


@workflow
async def listens(task: Task) -> str:
    await task.tool(echo, "a")
    answer = await task.ask("ada", "what?")
    return f"{answer} {await task.signal('word', str)}"


@workflow
async def has_a_bug(task: Task, text: str) -> str:
    await task.tool(echo, text)
    raise KeyError(text)


TOOLS: list[Tool[Any, Any]] = [echo, breaks]
SMALL = App("small", workflows=[listens, has_a_bug], tools=TOOLS)


def said(driver: Sealed, *headers: tuple[str, bytes], **changes: Any) -> None:
    signal = {"kind": "signal", "task": "t", "name": "word", "value": SECRET.decode()} | changes
    driver.produce("signals", signal, headers=headers)


def text_of(driver: Sealed) -> set[str]:
    """Topics and changelogs where the secret can be read by who has all keys but the tenant's."""
    others = Keys(key_file(driver.settings.encryption_keys.parent / "others", "one", bob="bob-1"))  # type: ignore[union-attr]
    found = {
        topic
        for topic, log in driver.logs.items()
        if topic not in ("tasks", "signals") and any(SECRET in str(others.opened(r)).encode() for r in log)
    }
    for changelog, write in driver.writes:
        if write.value and SECRET in others.open(changelog, write.key, write.value):
            found.add(changelog)
    return found


@pytest.mark.parametrize("headers", [(), ((TENANT, b"nobody"),)])
def test_a_signal_that_names_no_tenant_with_keys_is_sealed_for_its_tasks(
    file: Path, headers: Headers
) -> None:
    driver = Sealed(file, app=SMALL)
    driver.submit("listens")
    driver.run()
    said(driver, *headers)
    driver.run()
    assert any(each.kind == "signal_received" for each in driver.records("events"))
    assert text_of(driver) == set()
    only_theirs(driver)


def test_what_the_conductor_writes_is_the_tenants_even_if_the_event_is_sealed_with_another_key(
    file: Path,
) -> None:
    """Where `intake` can't know: the signal came before its task."""
    driver = Sealed(file, app=SMALL, looks_up=False)
    driver.submit("listens")
    driver.run()
    said(driver)
    said(driver, (TENANT, b"bob"), id="2")
    driver.produce("signals", {"kind": "answer", "task": "t", "step": 7, "value": SECRET.decode()})
    driver.produce("signals", {"kind": "cancel", "task": "t", "reason": SECRET.decode()})
    driver.run()
    said(driver, id="late")
    driver.run()
    assert text_of(driver) == {"events"}
    used = driver.keys_used()
    assert {topic for topic, ids in used.items() if ids != {"acme-1"}} == {"events"}
    assert [tenant_in(letter.headers) for letter in driver.logs["dead-letters"]] == ["acme", "acme"]


def test_a_signal_is_known_by_the_request_before_the_task_has_a_status(file: Path) -> None:
    driver = Sealed(file, app=SMALL)
    driver.submit("listens")
    said(driver)
    driver.run()
    only_theirs(driver)


def test_a_request_that_another_worker_took_is_found_on_its_topic(file: Path) -> None:
    """This worker's `intake` is new: it has seen no request."""
    driver = Sealed(file, app=SMALL)
    driver.submit("listens")
    assert driver.act()
    assert driver.offsets["tasks"] == 1
    driver.tenants = Tenants(driver.keys, driver.follow("status"), driver.follow("tasks"))
    said(driver)
    driver.run()
    assert any(each.kind == "signal_received" for each in driver.records("events"))
    assert text_of(driver) == set()
    only_theirs(driver)


def test_of_requests_that_are_refused_the_dead_letters_are_the_tenants(file: Path) -> None:
    driver = Sealed(file, app=SMALL)
    driver.produce("tasks", {"workflow": "unknown", "id": "u", "tenant": "acme", "input": SECRET.decode()})
    driver.produce("tasks", {"workflow": "listens", "id": "v", "tenant": "acme", "more": SECRET.decode()})
    driver.run()
    assert len(driver.logs["dead-letters"]) == 2
    only_theirs(driver)


def test_a_task_that_is_parked_and_one_that_waits_for_its_turn(file: Path) -> None:
    driver = Sealed(file, app=SMALL, limits=Limits(running_tasks_max=1))
    for number in range(3):
        driver.submit("has_a_bug", SECRET.decode(), f"t{number}")
    driver.run()
    driver.restart()
    driver.run()
    assert {each.kind for each in driver.records("events")} >= {"admitted", "submitted"}
    assert {each.state for each in driver.records("status")} >= {"queued", "parked"}
    only_theirs(driver)


def test_a_stage_that_fails_at_an_event_puts_it_aside_for_the_tenant(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    driver = Sealed(file, app=SMALL)
    driver.submit("listens")
    driver.run()

    def fail(*_: object) -> None:
        raise RuntimeError(SECRET.decode())

    with monkeypatch.context() as broken:
        broken.setattr("segue.processors.workflow.execution.WorkflowExecution.apply", fail)
        said(driver)
        driver.run()
    assert driver.logs["dead-letters"]
    only_theirs(driver)


def test_what_a_partition_remembers_of_losses_is_sealed_with_no_tenants_key(file: Path) -> None:
    driver = Sealed(file, app=SMALL)
    driver.submit("listens")
    driver.hear()
    lost = RecordsLost(topic="tool-calls", before_ms=driver.now_ms, at_ms=driver.now_ms)
    driver.put("events", b"", *enveloped(driver.keys, "events", b"", lost, None)[:1])
    driver.run()
    entries = [write for _, write in driver.writes if write.key.startswith(b"L")]
    assert entries
    assert all(isinstance(write, Plain) or write.value is None for write in entries)
    only_plain = {ids for topic, used in driver.keys_used().items() if topic != "events" for ids in used}
    assert only_plain == {"acme-1"}


def test_tokens_are_the_tenants(file: Path) -> None:
    told: dict[str, Any] = {"step": 0, "attempt": 1, "route": "r", "candidate": "m", "number": 0, "text": "x"}
    tokens = Tokens(task="t", begun_ms=START_MS, at_ms=START_MS, **told)
    value, _ = enveloped(Keys(file), "tokens", b"t", tokens, "acme")
    assert key_id(value) == "acme-1"


def test_only_what_holds_nothing_of_a_record_is_plain_on_changelogs(file: Path) -> None:
    """So that a restore may leave out all other entries in clear."""
    driver = Sealed(file, app=SMALL, limits=Limits(running_tasks_max=1, open_tasks_per_tenant_max=1))
    for number in range(3):
        driver.submit("has_a_bug" if number else "listens", None if not number else "x", f"t{number}")
    driver.hear()
    lost = RecordsLost(topic="tool-calls", before_ms=driver.now_ms, at_ms=driver.now_ms)
    driver.put("events", b"", enveloped(driver.keys, "events", b"", lost, None)[0])
    driver.run()
    written = [(changelog, write) for changelog, write in driver.writes]
    for case in CASES:
        written += played(file, case).writes
    kinds: dict[bool, set[tuple[str, bytes]]] = {True: set(), False: set()}
    for changelog, write in written:
        if write.value is not None:
            kinds[is_sealed(write.value)].add((changelog, write.key[:1]))
            assert driver.keys.believes(changelog, write.key, write.value, START_MS), write
            assert driver.keys.believes(changelog, write.key, b"forged", START_MS) != is_sealed(write.value)
    assert kinds[True] == {("conduct-state", b"J"), ("delay-state", b"\0")}
    assert {first for _, first in kinds[False]} >= {b"P", b"E", b"L", b"B", b"O", b"T", b"W"}
