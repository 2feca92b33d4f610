"""The figures as Markdown, for docs/peers.md: `python -m benchmarks.peers --show`."""

from typing import Any

HEAD = (
    "| | a commit is | steps/s, 64 in flight | steps/s, 512 | a step alone, p50 / p99 "
    "| CPU of a step, 64: programs + server | 512 | Segue is faster, 64 | 512 | with local tools, 64 | 512 |",
    "|---|---|---|---|---|---|---|---|---|---|---|",
)


def table(found: dict[str, Any]) -> str:
    missing = [f"- {name} is missing: {reason}" for name, reason in found["missing"].items()]
    return "\n".join([*HEAD, *map(_line, found["rows"]), *([""] if missing else []), *missing])


def _line(row: dict[str, Any]) -> str:
    cells = (
        row["name"],
        row["durability"],
        *(f"{rate:,}" for rate in row["steps_per_s"].values()),
        f"{row['step_ms_p50']} / {row['step_ms_p99']} ms",
        *(f"{cpu['programs']:,} + {cpu['server']:,} µs" for cpu in row["cpu_us_per_step"].values()),
        *(
            _times(ratio) if row["name"] != ours else ""
            for ours, ratios in row["faster"].items()
            for ratio in ratios.values()
        ),
    )
    return f"| {' | '.join(cells)} |"


def _times(ratio: list[float] | None) -> str:
    return "" if ratio is None else f"{ratio[0]:.3g} × ({ratio[1]:.3g} to {ratio[2]:.3g})"
