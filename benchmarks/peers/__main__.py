"""The command: `python -m benchmarks.peers [--rounds 5] [--seconds 8] [--only DBOS …]`.

Every round gives each peer its turn, and every second round the other way around. A ratio is of two turns of
the same round; what is printed of it is the median over the rounds, and the least and the most. The last line
is one of JSON, kept in benchmarks/results/peers.json, of which docs/peers.svg is drawn. `--show` prints its
table again.
"""

import argparse
import json
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

from benchmarks.peers import catalogue, servers, turn
from benchmarks.peers.catalogue import Entry
from benchmarks.peers.figures import Round, figures
from benchmarks.peers.install import Missing
from benchmarks.peers.machine import machine
from benchmarks.peers.table import table
from benchmarks.report import RESULTS, draw, keep, measured

IN_FLIGHT = [64, 512]


async def measure(entries: list[Entry], rounds: int, seconds: float, folder: Path) -> dict[str, Any]:
    missing = _installed(entries)
    found: list[Round] = []
    async with servers.kafka(folder / "kafka") as broker:
        await _turn(catalogue.named(catalogue.SEGUE), broker, folder, seconds)  # Java has just started
        for number in range(rounds):
            found.append({})
            for entry in entries[:: -1 if number % 2 else 1]:
                if entry.name in missing:
                    continue
                try:
                    found[-1][entry.name] = await _turn(entry, broker, folder, seconds)
                except Missing as error:
                    missing[entry.name] = str(error)
                    print(f"{entry.name} is missing: {error}", flush=True)
                else:
                    print(f"round {number + 1}: {entry.name}: {found[-1][entry.name].summary()}", flush=True)
    return figures(entries, found) | {"seconds": seconds, "missing": missing, "machine": machine(folder)}


async def _turn(entry: Entry, broker: servers.Server, folder: Path, seconds: float) -> turn.Turn:
    with tempfile.TemporaryDirectory(dir=folder) as own:
        if entry.server is None:
            return await turn.take(entry, broker, Path(own), IN_FLIGHT, seconds)
        async with entry.server(Path(own)) as server:
            return await turn.take(entry, server, Path(own), IN_FLIGHT, seconds)


def _installed(entries: list[Entry]) -> dict[str, str]:
    """Who has to stay away, and why."""
    missing: dict[str, str] = {}
    for need in {need: None for entry in entries for need in entry.needs}:
        try:
            need()
        except Missing as error:
            print(error, flush=True)
            missing |= {entry.name: str(error) for entry in entries if need in entry.needs}
    return missing


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=8.0)
    parser.add_argument("--only", nargs="*", default=[], metavar="NAME", help="besides Segue and aiokafka")
    parser.add_argument(
        "--processes", type=int, help="of each engine's program, Segue's too, instead of the catalogue's"
    )
    parser.add_argument("--show", action="store_true", help="print the table of the last run")
    given = parser.parse_args()
    if given.show:
        print(table(json.loads((RESULTS / "peers.json").read_text())))
        return
    entries = _chosen(parser, given.only, given.processes)
    with tempfile.TemporaryDirectory() as directory:
        found = measured(measure(entries, given.rounds, given.seconds, Path(directory)))
    print(table(found))
    keep("peers", found)
    draw("peers", "peers")


def _chosen(parser: argparse.ArgumentParser, only: list[str], processes: int | None) -> list[Entry]:
    names = {entry.name for entry in catalogue.ALL}
    if unknown := set(only) - names:
        parser.error(f"no such peer: {', '.join(sorted(unknown))}; there are {'; '.join(sorted(names))}")
    always = {*catalogue.OURS, catalogue.RAW}
    chosen = [entry for entry in catalogue.ALL if not only or entry.name in always | set(only)]
    if processes is None:
        return chosen
    return [entry if entry.kind == "plain" else replace(entry, processes=processes) for entry in chosen]


if __name__ == "__main__":
    main()
