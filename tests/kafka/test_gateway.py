"""The gateway on a real broker. The records of stages are put there by hand: no worker runs."""

import asyncio
import io
import re
import sys
import time
from collections.abc import AsyncGenerator, Awaitable, Callable
from typing import Any

import pytest
import pytest_asyncio
from aiokafka import AIOKafkaProducer, TopicPartition
from rich.console import Console

from segue.streams.cli.output import command_name
from segue.streams.cli.render import Screen
from segue.streams.cli.watching import picking, watch
from segue.streams.client import client as gateway
from segue.streams.client import requests
from segue.streams.client.client import Client
from segue.streams.client.redrive import REPLAYED_FROM, Copy, Once, Range, again, feed, records_of
from segue.streams.client.topic_lag import survey
from segue.streams.kafka.provisioning import provision
from segue.streams.kafka.reader import Reader
from segue.streams.settings import Settings
from segue.topics import codec
from segue.topics.errors import BadInput, TooLate, Unavailable, UnknownName
from segue.topics.flow import ORIGIN
from segue.topics.records import (
    Answer,
    Answered,
    Given,
    Option,
    Origin,
    Question,
    QuestionClosed,
    Record,
    Result,
    Status,
    Submitted,
    TaskRequest,
)
from tests.kafka.conftest import worker_environment

Put = Callable[..., Awaitable[None]]


def now_ms() -> int:
    return time.time_ns() // 1_000_000


@pytest_asyncio.fixture
async def put(settings: Settings) -> AsyncGenerator[Put]:
    """Publishes pairs of topic and record in one transaction, as a stage does, and waits until they are seen.

    Kafka says that a transaction is committed a moment before readers see it.
    """
    await provision(settings)
    producer: Any = AIOKafkaProducer(
        **settings.client_options(), transactional_id=f"{settings.topic_prefix}hand"
    )
    await producer.start()

    async def publish(*records: tuple[str, Record]) -> None:
        sent: list[Any] = []
        async with producer.transaction():
            for topic, record in records:
                key = str(record.model_dump()["task"]).encode()
                sent.append(await producer.send(settings.topic(topic), codec.encode(record), key=key))
        places = {TopicPartition(at.topic, at.partition): at.offset for at in [await each for each in sent]}
        async with Reader(settings) as reader:
            while any(end <= places[at] for at, end in (await reader.ends(places)).items()):  # noqa: ASYNC110
                await asyncio.sleep(0.01)

    yield publish
    await producer.stop()


async def status(settings: Settings, task: str, state: str = "running", *questions: Question) -> Status:
    async with Reader(settings) as reader:
        partition = reader.partition_of("events", task).partition
    at_ms = now_ms()
    return Status.model_validate(
        {
            "task": task,
            "workflow": "w",
            "version": 1,
            "state": state,
            "questions": questions,
            "partition": partition,
            "offset": 0,
            "started_ms": at_ms,
            "at_ms": at_ms,
        }
    )


def submitted(task: str) -> Submitted:
    return Submitted(task=task, workflow="w", version=1, input=None, at_ms=now_ms())


def result(task: str) -> Result:
    return Result(task=task, workflow="w", outcome="succeeded", result=3, started_ms=0, at_ms=now_ms())


def question(task: str) -> Question:
    options = (Option(label="Alba", value=1), Option(label="Casa do Mar", value=2))
    return Question(task=task, step=4, workflow="w", to="me", text="Which?", options=options, at_ms=now_ms())


async def only_record(settings: Settings, topic: str) -> Record:
    (record,) = await records_of(settings, Range(topic))
    decoded: Record = codec.decode(topic, record.value)
    return decoded


async def test_starting_a_task_publishes_its_request(settings: Settings, put: Put) -> None:
    async with Client(settings) as client:
        task = await client.start("book", {"place": "Lisbon"}, version=2)
    assert await only_record(settings, "tasks") == TaskRequest(
        id=task, workflow="book", version=2, input={"place": "Lisbon"}
    )


async def test_a_task_is_started_on_behalf_of_a_tenant_and_urgently(settings: Settings, put: Put) -> None:
    async with Client(settings) as client:
        task = await client.start("book", "Lisbon", tenant="acme", priority=9)
        with pytest.raises(BadInput, match="priority: Input should be less than or equal to 9"):
            await client.start("book", "Lisbon", priority=10)
    asked = TaskRequest(id=task, workflow="book", input="Lisbon", tenant="acme", priority=9)
    assert await only_record(settings, "tasks") == asked


async def test_an_answer_is_checked_where_it_enters(settings: Settings, put: Put) -> None:
    await put(("status", await status(settings, "t", "waiting", question("t"))))
    async with Client(settings) as client:
        with pytest.raises(BadInput, match="3 is not one of the options: 1 Alba; 2 Casa do Mar"):
            await client.answer("t", 3)
        with pytest.raises(UnknownName, match="no task 'other'"):
            await client.answer("other", 1)
        await client.answer("t", 2, id="a")
    assert await only_record(settings, "signals") == Answer(id="a", task="t", step=4, value=2)


async def test_who_answers_learns_whether_the_answer_counted(settings: Settings, put: Put) -> None:
    asked, at_ms = question("t"), now_ms()
    answer = Given(id="b", value=1, by="bob")
    closed = QuestionClosed(task="t", step=4, reason="answered", answer=answer, at_ms=at_ms)
    expired = QuestionClosed(task="t", step=4, reason="expired", at_ms=at_ms)
    origin = Origin(topic="signals", partition=0, offset=0)
    misfit = Answered(task="t", id="c", step=4, value=2, origin=origin, at_ms=at_ms)
    why = (("segue-topic", b"events"), ("segue-reason", b"it must be odd"))
    letter = Copy("dead-letters", None, b"t", codec.encode(misfit), why)
    await put(("questions", asked), ("status", await status(settings, "t", "waiting", asked)))
    async with Client(settings) as client, asyncio.timeout(60):
        waiting = [asyncio.create_task(client.answer("t", 2, id=id_)) for id_ in "abc"]
        while len(await records_of(settings, Range("signals"))) < len(waiting):  # noqa: ASYNC110
            await asyncio.sleep(0.05)
        await feed(settings, [letter])
        with pytest.raises(BadInput, match="it must be odd"):
            await waiting[2]
        await put(("questions", closed))
        with pytest.raises(TooLate, match="came too late: bob had answered 'Alba'"):
            await waiting[0]
        assert await waiting[1]
        await put(("questions", expired))
        with pytest.raises(TooLate, match="bob had answered"):
            await client.answer("t", 2, id="d")


async def test_an_ended_task_can_t_be_cancelled(settings: Settings, put: Put) -> None:
    await put(("status", await status(settings, "t", "succeeded")))
    async with Client(settings) as client:
        with pytest.raises(BadInput, match="task 't' has ended: it succeeded"):
            await client.cancel("t")


async def test_an_id_that_is_no_text_is_refused_wherever_it_is_given(settings: Settings) -> None:
    await provision(settings)
    none = "t\udc80"
    async with Client(settings) as client:
        for asked in (
            client.status(none), client.result(none), client.history(none), client.answer(none, 1),
            client.signal(none, "go"), client.cancel(none),
            anext(client.follow(none)), anext(client.tokens(none)),
        ):  # fmt: skip
            with pytest.raises(BadInput, match=r"'t\\udc80' is not a task id"):
                await asked
        with pytest.raises(BadInput, match="id: "):
            await client.start("w", id=none)
        with pytest.raises(BadInput, match="JSON can't hold it"):
            await client.start(none)


async def test_who_starts_a_task_by_an_id_that_is_there_is_told_so(settings: Settings, put: Put) -> None:
    await put(
        ("status", await status(settings, "t", "running")),
        ("status", await status(settings, "r", "rejected")),
    )
    said: dict[str, str] = {}
    for task in ("t", "r", "new"):
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "segue.streams.cli", "run", "w", "--id", task),
            env=worker_environment(settings),
            stderr=asyncio.subprocess.PIPE,
        )
        said[task] = (await process.communicate())[1].decode()
    assert said == {
        "t": "task t exists already and is running: no second task is started\n",
        "r": "",
        "new": "",
    }


async def test_the_latest_status_is_seen_by_a_client_that_has_looked_before(
    settings: Settings, put: Put
) -> None:
    async with Client(settings) as client:
        assert await client.statuses() == []
        await put(("status", await status(settings, "t")))
        assert (await client.status("t")).state == "running"
        await put(("status", await status(settings, "t", "parked")), ("status", await status(settings, "u")))
        assert {s.task: s.state for s in await client.statuses()} == {"t": "parked", "u": "running"}


async def test_the_history_of_a_task_is_its_own_in_order(settings: Settings, put: Put) -> None:
    await put(("events", submitted("other")), ("events", submitted("t")))
    await put(("questions", question("t")), ("status", await status(settings, "t", "waiting", question("t"))))
    await put(("results", result("t")), ("results", result("other")))
    async with Client(settings) as client:
        found = await client.history("t")
    assert [(r.topic, r.key) for r in found] == [
        (t, b"t") for t in ("events", "questions", "status", "results")
    ]


async def test_an_end_that_was_told_long_after_the_last_event_is_of_the_history(
    settings: Settings, put: Put
) -> None:
    """No worker was there, or the code had to be mended first."""
    at_ms = now_ms() - 3_600_000
    begun, stands = submitted("t"), await status(settings, "t", "succeeded")
    stands = stands.model_copy(update={"started_ms": at_ms, "at_ms": at_ms})
    await put(("events", begun.model_copy(update={"at_ms": at_ms})))
    await put(("status", stands), ("results", result("t")))
    async with Client(settings) as client:
        assert {record.topic for record in await client.history("t")} == {"events", "status", "results"}


async def test_following_a_task_just_started_waits_for_it_and_ends_with_its_result(
    settings: Settings, put: Put
) -> None:
    async with Client(settings) as client:
        task = await client.start("w")
        following = asyncio.create_task(_topics(client, task))
        await asyncio.sleep(0.3)
        await put(("events", submitted(task)), ("events", submitted("other")))
        await put(("results", result(task)))
        async with asyncio.timeout(10):
            assert await following == ["events", "results"]


async def test_following_a_task_that_was_started_again_tells_what_it_did_long_ago(
    settings: Settings, put: Put, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gateway, "CLOCK_SKEW_MS", 0)
    await put(("events", submitted("t")))
    await put(("status", await status(settings, "t", "succeeded")))
    await put(("results", result("t")))
    async with Client(settings) as client, asyncio.timeout(10):
        await client.start("w", id="t")
        assert await _topics(client, "t") == ["events", "status", "results"]


async def test_a_task_is_known_from_when_it_was_asked_for(
    settings: Settings, put: Put, monkeypatch: pytest.MonkeyPatch
) -> None:
    """To the client that asked for it, to any other, and to commands; also where a client forgot it."""
    monkeypatch.setattr(requests, "OWN_MAX", 1)
    async with Client(settings) as client, Client(settings) as other, asyncio.timeout(60):
        for task in ("t", "u"):
            await client.start("book", id=task, version=2, tenant="acme")
        for each in (client, other):
            for task in ("t", "u"):
                found = await each.status(task)
                told = (found.state, found.workflow, found.version, found.tenant, found.questions)
                assert told == ("queued", "book", 2, "acme", ())
                assert [record.topic for record in await each.history(task)] == ["status"]
                with pytest.raises(BadInput, match="has no open question: its state is queued"):
                    await each.answer(task, 1)
                for followed in (each.follow(task), each.tokens(task)):
                    with pytest.raises(TimeoutError):
                        await asyncio.wait_for(anext(followed), 0.5)
            with pytest.raises(UnknownName, match="no task 'v'"):
                await each.status("v")
        assert "book  t  queued" in await said_by(settings, "show", "t")


@pytest.mark.parametrize("cancels", [False, True])
async def test_what_is_told_to_a_task_waits_until_a_worker_took_it_up(
    settings: Settings, put: Put, monkeypatch: pytest.MonkeyPatch, cancels: bool
) -> None:
    async with Client(settings) as client, Client(settings) as other, asyncio.timeout(30):
        await client.start("w", id="t")
        telling = asyncio.create_task(other.cancel("t") if cancels else other.signal("t", "s"))
        await asyncio.sleep(0.3)
        assert await records_of(settings, Range("signals")) == []
        await put(("status", await status(settings, "t")))
        await telling
        assert len(await records_of(settings, Range("signals"))) == 1
        await client.start("w", id="u")
        monkeypatch.setattr(gateway, "TAKEN_UP_S_MAX", 0.1)
        with pytest.raises(Unavailable, match="no worker has started it within"):
            await client.cancel("u")


async def test_who_starts_an_id_that_was_rejected_is_told_what_becomes_of_the_new_request(
    settings: Settings, put: Put, monkeypatch: pytest.MonkeyPatch
) -> None:
    was = result("t").model_copy(update={"outcome": "rejected"})
    await put(("status", await status(settings, "t", "rejected")), ("results", was))
    await asyncio.sleep(0.01)
    async with Client(settings) as client, asyncio.timeout(30):
        await client.start("w", id="t")
        assert (await client.status("t")).state == "queued"
        waiting = asyncio.create_task(client.result("t"))
        followed = asyncio.create_task(_topics(client, "t"))
        await asyncio.sleep(0.3)
        await put(("events", submitted("t")), ("status", await status(settings, "t")))
        await put(("status", await status(settings, "t", "succeeded")), ("results", result("t")))
        assert (await waiting).outcome == "succeeded"
        assert (await followed)[-1] == "results"


async def test_an_id_that_is_rejected_again_is_rejected(
    settings: Settings, put: Put, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A worker tells it once for each id: the client waits no longer than it takes to see a request."""
    monkeypatch.setattr(requests, "TAKEN_UP_S_MAX", 0.3)
    was = result("t").model_copy(update={"outcome": "rejected"})
    await put(("status", await status(settings, "t", "rejected")), ("results", was))
    await asyncio.sleep(0.01)
    async with Client(settings) as client, asyncio.timeout(30):
        await client.start("w", id="t")
        assert (await client.result("t")).outcome == "rejected"
        assert (await client.status("t")).state == "rejected"


async def said_by(settings: Settings, *command: str) -> str:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "segue.streams.cli", *command),
        env=worker_environment(settings),
        stdout=asyncio.subprocess.PIPE,
    )
    return (await process.communicate())[0].decode()


async def _topics(client: Client, task: str) -> list[str]:
    return [record.topic async for record in client.follow(task)]


async def test_a_result_is_waited_for_and_found_again(settings: Settings, put: Put) -> None:
    ended = result("t")
    async with Client(settings) as client:
        waiting = asyncio.create_task(client.result("t", timeout_s=10))
        await asyncio.sleep(0.3)
        await put(("results", ended), ("status", await status(settings, "t", "succeeded")))
        assert await waiting == ended
        assert await client.result("t", timeout_s=10) == ended
        with pytest.raises(TimeoutError, match=r"task 'u' has not ended within 0\.1 s"):
            await client.result("u", timeout_s=0.1)


async def test_what_is_too_large_or_no_id_is_refused(settings: Settings, put: Put) -> None:
    await put(("status", await status(settings, "t")))
    async with Client(settings) as client:
        with pytest.raises(BadInput, match="over SEGUE_PAYLOAD_BYTES_MAX"):
            await client.signal("t", "s", "x" * 1_000_000)
        with pytest.raises(BadInput, match="id: "):
            await client.start("w", id="a\nb")
        with pytest.raises(BadInput, match="JSON can't hold"):
            await client.start("w", object())


async def test_without_topics_a_worker_is_asked_for(settings: Settings) -> None:
    async with Client(settings) as client:
        with pytest.raises(Unavailable, match="start one with `segue worker APP`"):
            await client.start("w")


async def test_a_range_is_fed_again_to_the_same_place(settings: Settings, put: Put) -> None:
    await put(("events", submitted("t")), ("events", submitted("t")), ("events", submitted("other")))
    first, second = await records_of(settings, Range("events", task="t"))
    assert await feed(settings, [again(second)]) == 1
    *_, fed = await records_of(settings, Range("events", task="t"))
    origin = f"events/{second.partition}/{second.offset}".encode()
    assert (fed.partition, fed.key, fed.value) == (second.partition, b"t", second.value)
    assert fed.headers == ((ORIGIN, origin), (REPLAYED_FROM, origin))
    assert list(filter(Once(), await records_of(settings, Range("events", task="t")))) == [first, second]
    wanted = Range("events", begin=first.offset, end=first.offset + 1, partition=first.partition)
    assert await records_of(settings, wanted) == [first]


async def test_the_lag_of_a_stage_counts_records_not_markers(settings: Settings, put: Put) -> None:
    await put(("events", submitted("t")), ("events", submitted("t")))
    lag = {each.topic.name: dict(each.lag) for each in await survey(settings)}
    assert (lag["events"], lag["failures"], lag["results"]) == ({"conduct": 2}, {"recover": 0}, {})


async def test_a_question_that_nobody_can_answer_ends_the_watching(settings: Settings, put: Put) -> None:
    """At once, not with the next record: there may never be one."""
    asked = Question(task="t", step=0, workflow="w", to="me", text="When?", at_ms=now_ms())
    begun = Submitted(task="t", workflow="w", version=1, input=None, at_ms=now_ms())
    await put(
        ("events", begun), ("questions", asked), ("status", await status(settings, "t", "waiting", asked))
    )
    screen = Screen()
    async with Client(settings) as client, asyncio.timeout(10):
        with pytest.raises(BadInput, match="'When\\?' has no options to choose from"):
            await watch(client, "t", screen, answerer=picking(screen, 1))


async def test_who_watches_without_a_terminal_is_told_how_to_answer_what_is_open(
    settings: Settings, put: Put
) -> None:
    """What was answered before is not asked again."""
    await put(("events", submitted("t")), ("status", await status(settings, "t", "waiting", question("t"))))
    await put(("questions", question("t").model_copy(update={"step": 3})))
    await put(("questions", QuestionClosed(task="t", step=3, reason="answered", at_ms=now_ms())))
    await put(("questions", question("t")))
    text = io.StringIO()
    async with Client(settings) as client, asyncio.timeout(10):
        watching = asyncio.create_task(watch(client, "t", Screen(Console(file=text, width=200))))
        while "answer with" not in text.getvalue():  # noqa: ASYNC110
            await asyncio.sleep(0.05)
        await put(("results", result("t")))
        await watching
    assert re.findall("answer with: .*", text.getvalue()) == [
        f"answer with: {command_name()} answer t VALUE --step 4"
    ]


@pytest.mark.parametrize("passes", [1, 2, 3])
async def test_a_client_that_is_cancelled_while_it_closes_leaves_nothing_behind(
    settings: Settings, put: Put, passes: int
) -> None:
    """So many passes of the loop after it began to close. What stays would look for brokers for ever."""
    before = asyncio.all_tasks()
    client = Client(settings)
    await client.start("w")
    assert await client.statuses() == []
    closing = asyncio.create_task(client.__aexit__(None, None, None))
    for _ in range(passes):
        await asyncio.sleep(0)
    closing.cancel()
    async with asyncio.timeout(10):
        await asyncio.wait(asyncio.all_tasks() - before)
