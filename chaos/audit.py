"""Holds what the topics and the ledger say against what every task was expected to come to.

Read when all workers have stopped, from the beginning, by a reader that sees committed records only. Every
check names a task or record that breaks it, so that one can look: `Finding`.
"""

import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from chaos.ledger import Execution
from chaos.outside import COPY
from chaos.workload import Work
from segue.streams.kafka.reader import Reader
from segue.streams.settings import Settings
from segue.topics import codec
from segue.topics.flow import Received
from segue.topics.records import Rejected, Result, Submitted

READ = ("events", "results", "dead-letters")
VARIES = {"at_ms", "duration_ms"}
"""Fields that say when or how long, not what."""


@dataclass
class Findings:
    """Ids of what is wrong, by the name of the check; empty lists are what one wants."""

    lost: list[str] = field(default_factory=list[str])
    """Submitted and acknowledged, and no event says so."""
    stuck: list[str] = field(default_factory=list[str])
    """Began and did not end."""
    twice: list[str] = field(default_factory=list[str])
    """Ended in two ways; under exactly_once also: a result, event or dead letter stands there twice."""
    wrong: list[str] = field(default_factory=list[str])
    """Ended otherwise than its input says."""
    effects: list[str] = field(default_factory=list[str])
    """An idempotency key is missing in the ledger, nobody asked for it, or it was used for two things."""
    state: list[str] = field(default_factory=list[str])
    """A store differs from its changelog, folded or restored from nothing."""

    @property
    def clean(self) -> bool:
        return not any(vars(self).values())


async def records(settings: Settings) -> dict[str, list[Received]]:
    """All committed records of the topics that are judged."""
    async with Reader(settings) as reader:
        found: dict[str, list[Received]] = {}
        for topic in READ:
            places = reader.partitions(topic)
            bounds = await reader.beginnings(places), await reader.ends(places)
            found[topic] = [record async for record in reader.read(*bounds)]
        return found


def judge(
    works: Mapping[str, Work],
    found: Mapping[str, list[Received]],
    executions: Iterable[Execution],
    exactly_once: bool,
) -> Findings:
    findings = Findings()
    begun = _begun(found["events"])
    results: dict[str, list[Result]] = defaultdict(list)
    for record in found["results"]:
        result: Result = codec.decode("results", record.value)
        results[result.task].append(result)
    for task, work in works.items():
        ended = results.get(task, [])
        if task not in begun:
            findings.lost.append(task)
        elif not ended:
            findings.stuck.append(task)
        else:
            _judge_end(work, ended, findings)
    findings.effects += _judge_effects(works, executions)
    if exactly_once:
        for topic in READ:
            findings.twice += _repeated(topic, found[topic])
    return findings


def _begun(events: Iterable[Received]) -> set[str]:
    decoded = (codec.decode("events", record.value) for record in events)
    return {event.task for event in decoded if isinstance(event, Submitted | Rejected)}


def _judge_end(work: Work, ended: list[Result], findings: Findings) -> None:
    """Copies of a result are equal, byte for byte: any difference means that the task ended twice."""
    if len({codec.encode(result) for result in ended}) > 1:
        findings.twice.append(work.id)
    if (ended[0].outcome, ended[0].result) != (work.outcome, work.result):
        findings.wrong.append(f"{work.id}: {ended[0].outcome} {ended[0].result!r} {_why(ended[0])}")


def _why(result: Result) -> str:
    return result.problem.message if result.problem else ""


def _judge_effects(works: Mapping[str, Work], executions: Iterable[Execution]) -> list[str]:
    keys: dict[str, set[str]] = defaultdict(set)
    asked: dict[tuple[str, int], set[str]] = defaultdict(set)
    for execution in executions:
        keys[execution.task].add(execution.key)
        asked[execution.key, execution.attempt].add(execution.asked)
    wrong = [
        f"{task}: {len(keys[task])} effects, not {work.effects}"
        for task, work in works.items()
        if len(keys[task]) != work.effects
    ]
    return wrong + [f"{key}: {sorted(what)}" for (key, _), what in asked.items() if len(what) > 1]


def _repeated(topic: str, read: Iterable[Received]) -> list[str]:
    own = (record for record in read if COPY not in dict(record.headers))
    counted = Counter(_identity(topic, record) for record in own)
    return [f"{topic}: {identity}" for identity, count in counted.items() if count > 1]


def _identity(topic: str, record: Received) -> str:
    """What makes a record this one: all that it says but times, or where a dead letter comes from."""
    if topic == "dead-letters":
        headers = dict(record.headers)
        where = ("segue-stage", "segue-topic", "segue-partition", "segue-offset")
        return " ".join(headers[name].decode() for name in where)
    said: dict[str, Any] = json.loads(record.value or b"{}")
    return json.dumps({name: value for name, value in said.items() if name not in VARIES}, sort_keys=True)


# ---------------------------------------------------------------- executions


def extra_executions(executions: Iterable[Execution]) -> int:
    """Beyond one for each attempt of a step."""
    counted = Counter((execution.key, execution.attempt) for execution in executions)
    return sum(count - 1 for count in counted.values())


def in_flight(executions: Iterable[Execution], moments_s: Iterable[float], unpublished_s: float) -> int:
    """Calls that ran at those moments, or had ended so shortly before that nobody may know of it yet."""
    runs = [(e.began_s, e.ended_s + unpublished_s if e.ended_s else float("inf")) for e in executions]
    return sum(began_s <= moment_s <= ended_s for moment_s in moments_s for began_s, ended_s in runs)
