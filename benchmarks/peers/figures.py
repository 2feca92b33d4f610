"""From the turns of all rounds to the figures: medians, and ratios within a round with their spread."""

import statistics
from collections.abc import Callable
from typing import Any

from benchmarks.peers.catalogue import AT_LEAST_ONCE, OURS, RAW, SEGUE, SEGUE_LOCAL, Entry
from benchmarks.peers.turn import Turn

Round = dict[str, Turn]
"""Who had a turn in it."""


def figures(entries: list[Entry], rounds: list[Round]) -> dict[str, Any]:
    took_part = [entry for entry in entries if any(entry.name in each for each in rounds)]
    rows = [
        _row(entry, [each[entry.name] for each in rounds if entry.name in each], rounds)
        for entry in took_part
    ]
    return _against_the_best(rows) | {"rounds": len(rounds), "rows": rows}


def _against_the_best(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """The best peer is the fastest of the engines, however it syncs."""
    segue = next((row for row in rows if row["name"] == SEGUE), None)
    engines = [row for row in rows if row["kind"] == "engine"]
    if segue is None or not engines:
        return {}
    best = {load: max(engines, key=lambda row: row["steps_per_s"][load]) for load in segue["steps_per_s"]}
    ratios = {f"ratio_{load}": row["faster"][SEGUE][load] for load, row in best.items()}
    ratios |= {f"ratio_{load}_local": row["faster"][SEGUE_LOCAL][load] for load, row in best.items()}
    ratios["step_p50_ratio_to_raw"] = segue["step_p50_ratio_to_raw"]
    return {
        "best_peer": best["64"]["name"],
        "best_peer_512": best["512"]["name"],
        **{name: ratio and ratio[0] for name, ratio in ratios.items()},
        **{f"{name}_spread": ratio and ratio[1:] for name, ratio in ratios.items()},
        "step_p99_ratio_to_p50": round(segue["step_ms_p99"] / segue["step_ms_p50"], 2),
    }


def _row(entry: Entry, turns: list[Turn], rounds: list[Round]) -> dict[str, Any]:
    step_ms = [ms for turn in turns for ms in turn.step_ms]
    of_load = {str(load): (_rate(load), _cpu(load, 0), _cpu(load, 1)) for load in turns[0].steps_per_s}
    raw = RAW + AT_LEAST_ONCE if entry.name.endswith(AT_LEAST_ONCE) else RAW
    return {
        "name": entry.name,
        "kind": entry.kind,
        "durability": entry.durability,
        "processes": entry.processes,
        "versions": turns[0].versions,
        "steps_per_s": {load: round(_median(turns, rate)) for load, (rate, _, _) in of_load.items()},
        "step_ms_p50": round(statistics.median(step_ms), 2),
        "step_ms_p99": round(statistics.quantiles(step_ms, n=100)[98], 2),
        "cpu_us_per_step": {
            load: {"programs": round(_median(turns, programs)), "server": round(_median(turns, server))}
            for load, (_, programs, server) in of_load.items()
        },
        "faster": {
            ours: {load: _ratio(rounds, ours, entry.name, rate) for load, (rate, _, _) in of_load.items()}
            for ours in OURS
        },
        "step_p50_ratio_to_raw": _ratio(rounds, entry.name, raw, _alone),
    }


def _alone(turn: Turn) -> float:
    return statistics.median(turn.step_ms)


def _rate(load: int) -> Callable[[Turn], float]:
    return lambda turn: turn.steps_per_s[load]


def _cpu(load: int, whose: int) -> Callable[[Turn], float]:
    return lambda turn: turn.cpu_us[load][whose]


def _median(turns: list[Turn], of: Callable[[Turn], float]) -> float:
    return statistics.median(map(of, turns))


def _ratio(rounds: list[Round], over: str, under: str, of: Callable[[Turn], float]) -> list[float] | None:
    """The median of the rounds' ratios, the least, and the most. None if the two never met."""
    ratios = [
        of(each[over]) / of(each[under])
        for each in rounds
        if over in each and under in each and of(each[under])
    ]
    if not ratios:
        return None
    return [round(ratio, 2) for ratio in (statistics.median(ratios), min(ratios), max(ratios))]
