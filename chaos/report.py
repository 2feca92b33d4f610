"""The figures of a run, as one line of JSON and as a few lines for people."""

import statistics
from collections import Counter
from typing import Any

from chaos.audit import extra_executions, in_flight
from chaos.faults import Happened
from chaos.outside import Outside
from chaos.run import Outcome

UNPUBLISHED_S = 1.0
"""A call that ended so shortly before a kill may not have been published: it is made again."""

MOVES = {"kill", "kill two", "terminate", "freeze", "add", "remove", "broker", "silence"}
"""Faults after which partitions move, and calls in flight with them."""

STEADY_S = 45.0
SHOWN_MAX = 5


def figures(outcome: Outcome) -> dict[str, Any]:
    findings, plan = outcome.findings, outcome.plan
    recovered_s = recoveries_s(outcome.outside, outcome.happened)
    moved = [happened for happened in outcome.happened if happened.kind in MOVES]
    moments_s = [at_s for happened in moved for at_s in _moments_s(happened)]
    return {
        "tasks": len(outcome.outside.works),
        "faults": len(outcome.happened),
        "lost": len(findings.lost),
        "stuck": len(findings.stuck),
        "twice": len(findings.twice),
        "wrong": len(findings.wrong),
        "wrong_effects": len(findings.effects),
        "wrong_stores": len(findings.state),
        "executions": len(outcome.executions),
        "extra_executions": extra_executions(outcome.executions),
        "in_flight_at_faults": in_flight(outcome.executions, moments_s, UNPUBLISHED_S),
        "recovery_s_p50": round(statistics.median(recovered_s), 2) if recovered_s else None,
        "recovery_s_max": round(max(recovered_s), 2) if recovered_s else None,
        "memory_mb_max": round(max((mb for m in outcome.members for _, mb in m.memory_mb), default=0)),
        "memory_growth_mb_per_min": memory_growth(outcome),
        "worker_deaths": len(outcome.deaths),
        "seed": plan.seed,
        "minutes": plan.minutes,
        "guarantee": plan.guarantee,
    }


def _moments_s(happened: Happened) -> tuple[float, ...]:
    """When it began, and for what lasts also when it ended: a zombie wakes, a broker comes back."""
    lasts = happened.ended_s - happened.began_s > 1.0
    return (happened.began_s, happened.ended_s) if lasts else (happened.began_s,)


def recoveries_s(outside: Outside, happened: list[Happened]) -> list[float]:
    """After each fault, until on every partition a task ended that was submitted after the fault began."""
    found: list[float] = []
    by_partition: dict[int, list[tuple[float, float]]] = {}
    for task, ended_s in outside.ended_s.items():
        if task in outside.asked_s:
            times = by_partition.setdefault(outside.partition(task), [])
            times.append((outside.asked_s[task], ended_s))
    for fault in happened:
        firsts = [
            min((ended_s for asked_s, ended_s in times if asked_s >= fault.began_s), default=None)
            for times in by_partition.values()
        ]
        if all(first is not None for first in firsts):
            found.append(max(first for first in firsts if first is not None) - fault.began_s)
    return found


def memory_growth(outcome: Outcome) -> float | None:
    """Of the worker that lived longest, after its first `STEADY_S`; None if none lived twice as long."""
    weighed = [member.memory_mb for member in outcome.members if member.memory_mb]
    longest = max(weighed, key=lambda weights: weights[-1][0]) if weighed else []
    steady = [(at_s, mb) for at_s, mb in longest if at_s >= STEADY_S]
    if not steady or steady[-1][0] < 2 * STEADY_S:
        return None
    (first_s, first_mb), (last_s, last_mb) = steady[0], steady[-1]
    return round((last_mb - first_mb) / (last_s - first_s) * 60, 2)


def text(outcome: Outcome) -> str:
    kinds = Counter(happened.kind for happened in outcome.happened)
    lines = ["faults: " + ", ".join(f"{count} × {kind}" for kind, count in kinds.most_common())]
    if outcome.deaths:
        lines.append(f"workers that ended by themselves, by exit code: {dict(Counter(outcome.deaths))}")
    for check, found in vars(outcome.findings).items():
        lines += [f"{check}: {each}" for each in found[:SHOWN_MAX]]
        if len(found) > SHOWN_MAX:
            lines.append(f"{check}: … and {len(found) - SHOWN_MAX} more")
    if outcome.findings.clean:
        lines.append("nothing was lost, stuck, done twice or wrong")
    return "\n".join(lines)
