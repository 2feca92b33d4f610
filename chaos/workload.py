"""What is submitted, drawn from the seed: each task with how it must end and what it must do outside.

The expectations are computed here from the input alone, by other code than the workflows: they are what the
audit holds the system against.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from random import Random
from typing import Any

from segue.topics.records import Outcome

COPIES_OF_TASKS = 0.05
"""The share of tasks that are submitted twice, as an upstream that retries would."""


@dataclass(frozen=True)
class Work:
    """A task to submit. `effects` counts the idempotency keys that the ledger must hold for it at the end."""

    workflow: str
    input: Any
    result: Any = None
    effects: int = 0
    outcome: Outcome = "succeeded"
    id: str = ""
    copies: int = 1


def drawn(seed: int) -> Iterator[Work]:
    """The same tasks in the same order for the same seed, without end."""
    random = Random(f"workload {seed}")
    number = 0
    while True:
        number += 1
        work = random.choice(KINDS)(random)
        copies = 2 if random.random() < COPIES_OF_TASKS and work.outcome != "rejected" else 1
        name = work.workflow if work.outcome != "rejected" else "rejected"
        yield replace(work, id=f"{name}-{number}", copies=copies)


def answer_to(number: int) -> int:
    """What the harness picks of a question's two options."""
    return number if number % 3 else number + 1


def _numbers(random: Random, count: int) -> list[int]:
    return [random.randrange(1000) for _ in range(count)]


def _sequence(random: Random) -> Work:
    numbers = _numbers(random, random.randrange(1, 6))
    return Work("sequence", numbers, sum(numbers), effects=len(numbers))


def _locally(random: Random) -> Work:
    return replace(_sequence(random), workflow="locally")


def _fan_out(random: Random) -> Work:
    numbers = _numbers(random, random.randrange(2, 9))
    return Work("fan_out", numbers, [2 * number for number in numbers], effects=len(numbers))


def _retries(random: Random) -> Work:
    fails = random.randrange(4)
    return Work("retries", fails, fails, effects=1)


def _fallback(random: Random) -> Work:
    text = str(random.randrange(1000))
    return Work("fallback", text, f"spare {text}", effects=1)


def _gives_up(random: Random) -> Work:
    text = str(random.randrange(1000))
    return Work("gives_up", text, f"gave up {text}", effects=1)


def _late(random: Random) -> Work:
    text = str(random.randrange(1000))
    return Work("late", text, text, effects=1)


def _timers(random: Random) -> Work:
    waits_s = [round(random.uniform(0.05, 2.0), 2) for _ in range(random.randrange(1, 4))]
    return Work("timers", waits_s, len(waits_s), effects=len(waits_s))


def _question(random: Random) -> Work:
    number = random.randrange(1000)
    return Work("question", number, answer_to(number), effects=1)


def _unanswered(random: Random) -> Work:
    return Work("unanswered", round(random.uniform(0.1, 2.0), 2), -1)


def _signalled(random: Random) -> Work:
    count = random.randrange(1, 4)
    return Work("signalled", count, sum(range(count)))


def _children(random: Random) -> Work:
    numbers = [_numbers(random, random.randrange(1, 4)) for _ in range(random.randrange(1, 4))]
    return Work("children", numbers, [sum(each) for each in numbers], effects=sum(map(len, numbers)))


def _cancelled(random: Random) -> Work:
    return Work("cancelled", random.randrange(1000), effects=1, outcome="cancelled")


def _critique(random: Random) -> Work:
    first, wanted = _numbers(random, 2)
    return Work("critique", [first, wanted], wanted)


def _agent(random: Random) -> Work:
    stops = _numbers(random, random.randrange(1, 6))
    return Work("agent", stops, 2 * sum(stops), effects=len(stops))


def _fails(random: Random) -> Work:
    return Work("fails", random.randrange(1000), effects=1, outcome="failed")


def _rejected(_: Random) -> Work:
    return Work("sequence", "no numbers", outcome="rejected")


KINDS: tuple[Callable[[Random], Work], ...] = (
    _sequence,
    _sequence,
    _sequence,
    _locally,
    _locally,
    _fan_out,
    _retries,
    _fallback,
    _gives_up,
    _late,
    _timers,
    _question,
    _unanswered,
    _signalled,
    _children,
    _cancelled,
    _critique,
    _agent,
    _fails,
    _rejected,
)
"""Sequences are the plainest and quickest, so they tell when work flows again: there are more of them."""
