"""Command: health."""

import click

from segue.processors.formatting import duration
from segue.streams.calls.published_health import known
from segue.streams.cli.output import asynchronous, emit_document, output_option
from segue.streams.cli.tables import plain_table, print_table
from segue.streams.cli.terminal import Text, say
from segue.streams.client.local_time import moment_of
from segue.streams.settings import Settings
from segue.topics.health import Health

STYLE = {"closed": "green", "half_open": "yellow", "open": "bold red"}


@click.command()
@output_option
@asynchronous
async def health(output: str) -> None:
    """Show each candidate's recent failures and latencies over all workers, and the state of its circuit.

    A candidate is listed after a worker whose app has a `circuit_breaker` has called it.
    """
    found = await known(Settings.load())
    if output == "json":
        emit_document(found)
        return
    if not found:
        say("no candidates: no worker whose app has a circuit_breaker has called one yet", err=True)
        return
    headings = ("CANDIDATE", "CIRCUIT", "SINCE", "FAILED", "P50", "P95", "AS OF")
    table = plain_table(*headings, right=("P50", "P95"))
    for each in found:
        table.add_row(*_row(each))
    print_table(table)


def _row(each: Health) -> tuple[str | Text, ...]:
    return (
        each.candidate,
        Text(each.state.replace("_", " "), style=STYLE[each.state]),
        moment_of(each.since_ms),
        f"{each.failures:,} of {each.attempts:,} in {each.window_s:g} s",
        duration(each.latency_p50_ms),
        duration(each.latency_p95_ms),
        moment_of(each.at_ms),
    )
