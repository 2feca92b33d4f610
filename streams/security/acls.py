"""Who may do what on the cluster, as Kafka ACLs: derived from the topics' contracts, and nothing more.

    worker        its stages' topics, their groups and transactional ids; metadata of all topics
    upstream      writes what the outside may write: `tasks` and `signals`; reads where tasks stand and what
                  they ask, to answer, signal and cancel them
    downstream    reads what is for the outside: `questions`, `results`, `status`, `dead-letters`
    operator      looks at tasks and steers them by `segue`: reads what they leave, writes as upstream

Only workers write elsewhere: whoever may write to `events` is believed. So records of other topics are sent
again (`segue dead-letters redrive`, `segue topics redrive`) with the rights of a worker.

`Write` on a topic includes writing idempotently since Kafka 3.0. A consumer of one's own also needs `Read` on
its group, whose name only its owner knows.
"""

import shlex
from collections.abc import Collection, Iterable
from itertools import groupby
from typing import Any, Literal, NamedTuple

from aiokafka.errors import (
    GroupAuthorizationFailedError,
    KafkaError,
    TopicAuthorizationFailedError,
    TransactionalIdAuthorizationFailed,
)

from segue.streams.settings import Settings
from segue.topics import contracts
from segue.topics.contracts import LOG_TOPICS

Resource = Literal["topic", "group", "transactional-id"]
Operation = Literal["Read", "Write", "Create", "Describe", "DescribeConfigs"]

OUTSIDE = "outside"

STANDING = ("status", "questions")
"""Where tasks stand, and whether an answer counted."""

LOOKED_AT = ("tasks", "signals", "tokens", "health", "conduct-state")
"""Beside the log of a task. What has expired of the log of an open one stands in the conductor's state."""


class Right(NamedTuple):
    """One principal may do these things to one resource, or with `prefixed` to all whose names begin so."""

    principal: str
    resource: Resource
    name: str
    operations: tuple[Operation, ...]
    prefixed: bool = False


def worker(settings: Settings, principal: str, stages: Collection[str], creates: bool) -> list[Right]:
    """For a worker that runs these stages. With `creates` it may make the topics that do not exist."""
    metadata: tuple[Operation, ...] = ("Describe", "DescribeConfigs", *(("Create",) if creates else ()))
    rights = [
        Right(principal, "topic", settings.topic(topic.name), (*_uses(topic, stages), *metadata))
        for topic in contracts.ALL
    ]
    rights += [Right(principal, "group", settings.group(stage), ("Read",)) for stage in stages]
    if settings.guarantee == "exactly_once":
        rights += [
            Right(principal, "transactional-id", f"{settings.group(stage)}-", ("Write",), prefixed=True)
            for stage in stages
            if stage != "health"
        ]
    return rights


def upstream(settings: Settings, principal: str) -> list[Right]:
    return [*_writes(settings, principal), *_reads(settings, principal, STANDING)]


def _writes(settings: Settings, principal: str) -> list[Right]:
    return [
        Right(principal, "topic", settings.topic(topic.name), ("Write", "Describe"))
        for topic in contracts.ALL
        if OUTSIDE in topic.written_by
    ]


def _reads(settings: Settings, principal: str, topics: Iterable[str]) -> list[Right]:
    return [Right(principal, "topic", settings.topic(name), ("Read", "Describe")) for name in topics]


def downstream(settings: Settings, principal: str) -> list[Right]:
    return _reads(settings, principal, (topic.name for topic in contracts.ALL if OUTSIDE in topic.read_by))


def operator(settings: Settings, principal: str) -> list[Right]:
    looks = _reads(settings, principal, sorted({*LOG_TOPICS, *LOOKED_AT}))
    groups = Right(principal, "group", settings.group(""), ("Describe",), prefixed=True)
    return [*looks, *_writes(settings, principal), groups]


def lacking(error: KafkaError, stage: str) -> str | None:
    """The right that is missing, in words, if that is what the error is about."""
    resource = next((what for kind, what in _REFUSED if isinstance(error, kind)), None)
    if resource is None:
        return None
    named: Any = error.args[0] if error.args else ""
    names = named if isinstance(named, str) else ", ".join(sorted(map(str, named)))
    advice = f"`segue topics acls --principal User:NAME --stages {stage}` prints what to grant"
    return f"Kafka does not allow it {resource} {names}".rstrip() + f": {advice}"


_REFUSED: tuple[tuple[type[KafkaError], str], ...] = (
    (TopicAuthorizationFailedError, "Read or Write on topic"),
    (GroupAuthorizationFailedError, "Read on group"),
    (TransactionalIdAuthorizationFailed, "Write on transactional id"),
)


def _uses(topic: contracts.Topic, stages: Collection[str]) -> tuple[Operation, ...]:
    read_by = {*topic.read_by, *topic.followed_by}
    reads: tuple[Operation, ...] = ("Read",) if read_by & set(stages) else ()
    writes: tuple[Operation, ...] = ("Write",) if set(topic.written_by) & set(stages) else ()
    return reads + writes


def commands(settings: Settings, rights: Iterable[Right]) -> list[str]:
    """The same for Kafka's own tool, one command for all names with the same operations."""
    return [_command(settings, list(alike)) for _, alike in groupby(sorted(rights, key=_kind), key=_kind)]


def _kind(right: Right) -> tuple[str, str, tuple[str, ...], bool]:
    return right.principal, right.resource, right.operations, right.prefixed


def _command(settings: Settings, alike: list[Right]) -> str:
    first = alike[0]
    words = ["kafka-acls.sh", "--bootstrap-server", settings.bootstrap, "--add"]
    words += ["--allow-principal", first.principal]
    words += [word for operation in first.operations for word in ("--operation", operation)]
    words += [word for right in alike for word in (f"--{right.resource}", right.name)]
    if first.prefixed:
        words += ["--resource-pattern-type", "prefixed"]
    return shlex.join(words)
