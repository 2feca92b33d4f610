"""The tasks of a seed, and the people outside: they submit, answer, signal and cancel, sometimes twice."""

import asyncio
import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from aiokafka.structs import TopicPartition
from pydantic_core import to_json

from segue.topics import codec
from segue.topics.records import Question, Result, Status
from tests.corpus import CANCEL, CASES, FORCE, Case, answer, signal
from tests.simulation.broker import Broker, Entry
from tests.simulation.consumer import Consumer
from tests.simulation.world import PROCESS

PLAYED = {case.name: case for case in CASES if case.name != "long"}

SIGNALS: dict[str, list[dict[str, Any]]] = {
    "takes_signals_in_order": [
        signal("go", "early"),
        signal("go", "first"),
        signal("other", 3),
        signal("go", "second"),
    ],
    "waits_on_for_signals_that_fit": [signal("go", said) for said in ("none", 1, "none", 2, 3)],
    "cleans_up_when_cancelled": [CANCEL],
    "refuses_to_be_cancelled": [CANCEL],
    "is_undone_when_cancelled": [CANCEL],
    "is_ended_by_force": [CANCEL, FORCE],
    "is_broken": [signal("word", "x")],
    "collects_garbage_while_generators_are_open": [signal("word", "x")],
    "goes_on_anew": [*(signal("word", word) for word in ("0", "1", "late", "2")), signal("end", "end")],
}
"""Sent when the task is seen to run."""

ANSWERS: dict[str, Any] = {"which?": "the dear one", "when?": {"place": "Faro", "arrives": "2026-10-01"}}


@dataclass(frozen=True)
class Submission:
    case: str
    task: str
    at_s: float
    copies: int


def drawn(chance: random.Random) -> tuple[Submission, ...]:
    names = chance.choices(list(PLAYED), k=chance.randint(2, 5))
    return tuple(
        Submission(name, f"{name}-{number}", chance.random() * 3, chance.choice((1, 1, 2)))
        for number, name in enumerate(names)
    )


def is_right(case: Case, result: Result) -> bool:
    """As the case says; where that depends on when things happen, what may happen."""
    may: dict[str, Callable[[Any], bool]] = {
        "waits_for_the_first": lambda found: len(found) == 2 or found[-1] == 0,
        "as_they_complete": lambda found: sorted(found) == sorted(case.expected),
        "group_fails_and_cleans_up": lambda found: sorted(found) == sorted(case.expected),
        "leaves_generators": lambda found: (
            [each for each in found if each != "closed"] == ["A", "A", "open", "kept"]
            and found.count("closed") <= 2
        ),
        "sleeps": lambda found: found[0] == "timeout" and found[2] == 0.0,
    }
    if (
        case.name in ("cleans_up_when_cancelled", "is_undone_when_cancelled")
        and result.outcome == "succeeded"
    ):
        return True  # it was done before it was cancelled
    if result.outcome != case.outcome:
        return False
    if result.problem is not None and result.outcome == "failed":
        return case.expected in (result.problem.message, result.problem.type)
    if case.outcome == "cancelled":
        return True
    judge = may.get(case.name)
    return judge(result.result) if judge is not None else bool(result.result == case.expected)


class Outside:
    """`ended` has the result of each task that readers of this guarantee can see."""

    def __init__(self, broker: Broker, submissions: tuple[Submission, ...], exactly_once: bool) -> None:
        self._broker = broker
        self._submissions = submissions
        self._isolation = "read_committed" if exactly_once else "read_uncommitted"
        self._chance = broker.world.chance
        self._signalled: set[str] = set()
        self.ended: dict[str, Result] = {}

    async def run(self) -> None:
        """Until all tasks that were submitted have ended."""
        watching = asyncio.create_task(self._watch())
        for submission in sorted(self._submissions, key=lambda each: each.at_s):
            await asyncio.sleep(max(0.0, submission.at_s - self._broker.world.loop.now_s))
            for _ in range(submission.copies):
                value = {
                    "workflow": submission.case,
                    "input": PLAYED[submission.case].input,
                    "id": submission.task,
                }
                await self._send("tasks", submission.task, value, self._anywhere())
        await watching

    async def _watch(self) -> None:
        consumer = Consumer(client_id="outside", isolation_level=self._isolation)
        topics = ("results", "questions", "status")
        consumer.assign(
            [TopicPartition(topic, n) for topic in topics for n in range(self._broker.partitions)]
        )
        wanted = {submission.task for submission in self._submissions}
        while not wanted <= self.ended.keys():
            fetched = await consumer.getmany(timeout_ms=3_600_000)
            for tp, records in fetched.items():
                for record in records:
                    await self._see(codec.decode(tp.topic, record.value))

    async def _see(self, record: Any) -> None:
        match record:
            case Result():
                self.ended.setdefault(record.task, record)
            case Question() if record.text in ANSWERS:
                said = answer(ANSWERS[record.text], record.step)
                await self._signal(record.task, f"{record.task}/{record.step}", said, 0)
            case Status(state="running") if record.task not in self._signalled:
                self._signalled.add(record.task)
                partition = self._anywhere()
                for number, said in enumerate(SIGNALS.get(record.workflow, ())):
                    await self._signal(record.task, f"{record.task}/{number}", said, partition)
            case Status(state="parked"):  # at a bug, which nobody mends here
                await self._signal(record.task, f"{record.task}/bug", CANCEL, self._anywhere())
            case _:
                pass

    async def _signal(self, task: str, id_: str, said: dict[str, Any], partition: int) -> None:
        for _ in range(self._chance.choice((1, 1, 2))):
            await self._send("signals", task, {"task": task, "id": id_, **said}, partition)

    def _anywhere(self) -> int:
        """Clients of other kinds hash keys in other ways."""
        return self._chance.randrange(self._broker.partitions)

    async def _send(self, topic: str, key: str, value: Any, partition: int) -> None:
        process = PROCESS.get()
        await process.passes(f"sends to {topic}")
        entry = Entry("outside", key.encode(), to_json(value), (), process.world.now_ms, None)
        self._broker.logs[TopicPartition(topic, partition)].append(entry)
