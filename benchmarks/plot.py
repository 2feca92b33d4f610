"""Draws what a benchmark kept, for those that have a plot: docs/peers.svg and docs/long.svg.

    python benchmarks/plot.py benchmarks/results/peers.json docs/peers.svg

It runs in the peers' environment, which has matplotlib. The ground is left out, and the ink can be read on
white and on black.
"""

# pyright: basic, reportMissingImports=false

import json
import sys
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib import pyplot

INK = "#808890"
COLOURS = {"64": "#3b82c4", "512": "#d97a2b"}
STYLE = {
    "svg.fonttype": "none",
    "svg.hashsalt": "segue",  # the same figures draw the same file
    "font.family": "sans-serif",
    "font.size": 12,
    **dict.fromkeys(("text.color", "axes.labelcolor", "axes.edgecolor", "xtick.color", "ytick.color"), INK),
}


def main() -> None:
    kept, target = map(Path, sys.argv[1:])
    found = json.loads(kept.read_text())
    with mpl.rc_context(STYLE):
        figure = {"peers": _peers, "shapes": _long}[found["benchmark"]](found)
        figure.savefig(target, transparent=True, metadata={"Date": None})


def _peers(found: dict[str, Any]) -> Any:
    """How many times as fast Segue is, with the spread over the rounds."""
    others = [row for row in found["rows"] if row["kind"] != "segue"]
    rows = [row for row in others if all(all(ratios.values()) for ratios in row["faster"].values())]
    figure, both = pyplot.subplots(
        1, 2, figsize=(11, 1.1 + 0.62 * len(rows)), sharex=True, sharey=True, layout="constrained"
    )
    for axes, ours in zip(both, rows[0]["faster"], strict=True):
        for place, (load, colour) in enumerate(COLOURS.items()):
            label = f"{load} in flight" if axes is both[0] else None
            _bars(
                axes, [row["faster"][ours][load] for row in rows], colour, label, offset=0.38 * (place - 0.5)
            )
        axes.set_title(ours)
        axes.axvline(1, color=INK, linewidth=1)
        axes.set_xscale("log")
        axes.xaxis.set_major_formatter("{x:g} ×")
        axes.margins(x=0.2)
        axes.spines[["top", "right"]].set_visible(False)
    both[0].set_yticks(range(len(rows)), [row["name"] for row in rows])
    both[0].invert_yaxis()
    figure.supxlabel("steps per second over those of each, and the spread over the rounds", fontsize=12)
    figure.legend(frameon=False, ncols=2, loc="outside upper right")
    return figure


def _bars(axes: Any, ratios: list[list[float]], colour: str, label: str | None, offset: float) -> None:
    medians = [median for median, _, _ in ratios]
    spread = [[median - least for median, least, _ in ratios], [most - median for median, _, most in ratios]]
    places = [place + offset for place in range(len(ratios))]
    axes.barh(
        places,
        [median - 1 for median in medians],
        left=1,
        height=0.36,
        color=colour,
        xerr=spread,
        error_kw={"ecolor": INK, "elinewidth": 1.5, "capsize": 3},
        label=label,
    )
    for place, (median, _, most) in zip(places, ratios, strict=True):
        axes.annotate(
            f"{median:.3g} ×", (max(most, 1), place), (6, 0), textcoords="offset points", va="center"
        )


def _long(found: dict[str, Any]) -> Any:
    """What a step takes along a task of many."""
    figure, axes = pyplot.subplots(figsize=(9, 3), layout="constrained")
    steps = [each["from_step"] for each in found["long"]]
    ms = {
        "from step to step, p50": [each["ms_p50"] for each in found["long"]],
        "CPU of the process": [each["cpu_us"] / 1000 for each in found["long"]],
    }
    for (label, values), colour in zip(ms.items(), COLOURS.values(), strict=True):
        axes.plot(steps, values, color=colour, linewidth=2, label=label)
    axes.set_ylim(bottom=0)
    axes.set_xlabel("step of one task")
    axes.set_ylabel("ms")
    axes.spines[["top", "right"]].set_visible(False)
    figure.legend(frameon=False, ncols=2, loc="outside upper right")
    return figure


if __name__ == "__main__":
    main()
