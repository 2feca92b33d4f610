"""The figures of a run, as one line of JSON and as a few lines for people."""

import statistics
from collections import Counter
from typing import Any

from chaos.audit import extra_executions, in_flight
from chaos.faults import ALONE, SESSION_TIMEOUT_S, Happened, Kind
from chaos.outside import Outside
from chaos.run import Outcome
from segue.streams.engine.effect_runner import RELEASE_GRACE_S
from segue.streams.kafka.consumer_group import HEARTBEATS_PER_SESSION

UNPUBLISHED_S = 1.0
"""A call that ended so shortly before a kill may not have been published: it is made again."""

MOVES: set[Kind] = {
    "kill",
    "loss",
    "kill two",
    "terminate",
    "freeze",
    "add",
    "remove",
    "broker",
    "silence",
}
"""Faults after which partitions move, and calls in flight with them."""

RESTORE_S_MAX = 4.0
"""Opening the stores, reading the ends of their changelogs, and a first task, on two cores for everything."""

KILL_RECOVERY_S_MAX = SESSION_TIMEOUT_S * (1 + 1 / HEARTBEATS_PER_SESSION) + RELEASE_GRACE_S + RESTORE_S_MAX
"""The session runs out, the others learn of it at their next heartbeat, let go, and take over."""

STEADY_S = 120.0
"""A worker grows while it fills its caches."""

JUDGED_S = 20 * 60.0
MEMORY_GROWTH_MB_PER_MIN_MAX = 1.0
SHOWN_MAX = 5


def figures(outcome: Outcome) -> dict[str, Any]:
    findings, plan = outcome.findings, outcome.plan
    recovered_s = recoveries_s(outcome.outside, outcome.happened)
    killed = [happened for happened in outcome.happened if happened.kind in ALONE]
    watched_s, growth = memory_growth(outcome)
    return {
        "tasks": len(outcome.outside.works),
        "faults": len(outcome.happened),
        "skipped": sorted(outcome.skipped),
        "lost": len(findings.lost),
        "stuck": len(findings.stuck),
        "twice": len(findings.twice),
        "wrong": len(findings.wrong),
        "wrong_effects": len(findings.effects),
        "wrong_stores": len(findings.state),
        "executions": len(outcome.executions),
        "extra_executions": extra_executions(outcome.executions),
        "in_flight_at_faults": in_flight_at_faults(outcome),
        "recovery_s_p50": _rounded(statistics.median(recovered_s)) if recovered_s else None,
        "recovery_s_max": _rounded(max(recovered_s, default=None)),
        "kill_recovery_s_max": _rounded(max(recoveries_s(outcome.outside, killed), default=None)),
        "kill_recovery_s_bound": KILL_RECOVERY_S_MAX,
        "memory_mb_max": round(max((mb for m in outcome.members for _, mb in m.memory_mb), default=0)),
        "memory_growth_mb_per_min": _rounded(growth),
        "memory_watched_min": round(watched_s / 60, 1),
        "worker_deaths": len(outcome.deaths),
        "seed": plan.seed,
        "minutes": plan.minutes,
        "guarantee": plan.guarantee,
        "broken": broken(outcome),
    }


def broken(outcome: Outcome) -> list[str]:
    """The promises that this run did not find kept, by name."""
    kept = {name: not found for name, found in vars(outcome.findings).items()}
    kept["executions"] = extra_executions(outcome.executions) <= in_flight_at_faults(outcome)
    killed = [happened for happened in outcome.happened if happened.kind in ALONE]
    kept["kill_recovery"] = max(recoveries_s(outcome.outside, killed), default=0.0) <= KILL_RECOVERY_S_MAX
    watched_s, growth = memory_growth(outcome)
    kept["memory"] = watched_s < JUDGED_S or growth is None or growth <= MEMORY_GROWTH_MB_PER_MIN_MAX
    return [name for name, is_kept in kept.items() if not is_kept]


def _rounded(number: float | None) -> float | None:
    return None if number is None else round(number, 2)


def in_flight_at_faults(outcome: Outcome) -> int:
    moved = [happened for happened in outcome.happened if happened.kind in MOVES]
    moments_s = [at_s for happened in moved for at_s in _moments_s(happened)]
    return in_flight(outcome.executions, moments_s, UNPUBLISHED_S)


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


def memory_growth(outcome: Outcome) -> tuple[float, float | None]:
    """For how long a worker was watched after its first `STEADY_S`, and how many MB it grew a minute.

    The worker that lived longest; by least squares, since stores that come and go make its memory swing.
    """
    steady = [(at_s, mb) for at_s, mb in _memory_of_the_oldest(outcome) if at_s >= STEADY_S]
    if len(steady) < 2:
        return 0.0, None
    times_s, sizes_mb = zip(*steady, strict=True)
    slope, _ = statistics.linear_regression(times_s, sizes_mb)
    return times_s[-1] - times_s[0], slope * 60


def _memory_of_the_oldest(outcome: Outcome) -> list[tuple[float, float]]:
    weighed = [member.memory_mb for member in outcome.members if member.memory_mb]
    return max(weighed, key=lambda weights: weights[-1][0]) if weighed else []


def text(outcome: Outcome) -> str:
    kinds = Counter(happened.kind for happened in outcome.happened)
    lines = ["faults: " + ", ".join(f"{count} × {kind}" for kind, count in kinds.most_common())]
    for kind in kinds:
        of_kind = [happened for happened in outcome.happened if happened.kind == kind]
        if recovered_s := recoveries_s(outcome.outside, of_kind):
            p50_s, max_s = statistics.median(recovered_s), max(recovered_s)
            lines.append(f"  {kind:10} work flowed again after {p50_s:5.1f} s, at most {max_s:5.1f} s")
    by_minute = {int(at_s // 60): f"{mb:.0f}" for at_s, mb in _memory_of_the_oldest(outcome)}
    lines.append(f"memory of the oldest worker at the end of each minute, MB: {' '.join(by_minute.values())}")
    if outcome.deaths:
        lines.append(f"workers that ended by themselves, by exit code: {dict(Counter(outcome.deaths))}")
    for check, found in vars(outcome.findings).items():
        lines += [f"{check}: {each}" for each in found[:SHOWN_MAX]]
        if len(found) > SHOWN_MAX:
            lines.append(f"{check}: … and {len(found) - SHOWN_MAX} more")
    if outcome.skipped:
        lines.append(f"not possible here, so left out: {', '.join(sorted(outcome.skipped))}")
    if not (found := broken(outcome)):
        lines.append("nothing was lost, stuck, done twice or wrong")
    else:
        lines.append(f"promises that were not kept: {', '.join(found)}")
    return "\n".join(lines)
