"""Draws docs/peers.svg from a kept line: how many times as fast Segue is, with the spread over the rounds.

    python benchmarks/peers/plot.py benchmarks/results/peers.json docs/peers.svg

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
    "svg.hashsalt": "peers",  # the same figures draw the same file
    "font.family": "sans-serif",
    "font.size": 12,
    **dict.fromkeys(("text.color", "axes.labelcolor", "axes.edgecolor", "xtick.color", "ytick.color"), INK),
}


def main() -> None:
    kept, target = map(Path, sys.argv[1:])
    rows = [row for row in json.loads(kept.read_text())["rows"] if row["name"] != "Segue"]
    rows = [row for row in rows if all(row["segue_ratio"].values())]
    with mpl.rc_context(STYLE):
        figure, axes = pyplot.subplots(figsize=(9, 0.7 + 0.62 * len(rows)), layout="constrained")
        for place, (load, colour) in enumerate(COLOURS.items()):
            _bars(axes, rows, load, colour, offset=0.38 * (place - 0.5))
        axes.axvline(1, color=INK, linewidth=1)
        axes.set_xscale("log")
        axes.xaxis.set_major_formatter("{x:g} ×")
        axes.margins(x=0.12)
        axes.set_xlabel("Segue's steps per second over those of each, and the spread over the rounds")
        axes.set_yticks(range(len(rows)), [row["name"] for row in rows])
        axes.invert_yaxis()
        axes.spines[["top", "right"]].set_visible(False)
        figure.legend(frameon=False, ncols=2, loc="outside upper right")
        figure.savefig(target, transparent=True, metadata={"Date": None})


def _bars(axes: Any, rows: list[dict[str, Any]], load: str, colour: str, offset: float) -> None:
    ratios = [row["segue_ratio"][load] for row in rows]
    medians = [median for median, _, _ in ratios]
    spread = [[median - least for median, least, _ in ratios], [most - median for median, _, most in ratios]]
    places = [place + offset for place in range(len(rows))]
    axes.barh(
        places,
        [median - 1 for median in medians],
        left=1,
        height=0.36,
        color=colour,
        xerr=spread,
        error_kw={"ecolor": INK, "elinewidth": 1.5, "capsize": 3},
        label=f"{load} in flight",
    )
    for place, (median, _, most) in zip(places, ratios, strict=True):
        axes.annotate(
            f"{median:.3g} ×", (max(most, 1), place), (6, 0), textcoords="offset points", va="center"
        )


if __name__ == "__main__":
    main()
