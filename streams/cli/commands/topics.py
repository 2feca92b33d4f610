"""Commands: topics, topics redrive and topics acls."""

import click
from rich.table import Table
from rich.text import Text as RichText

from segue.processors.formatting import duration
from segue.streams.cli.inputs import stages_of
from segue.streams.cli.output import asynchronous, emit, emit_document, output_option
from segue.streams.cli.tables import plain_table, print_table
from segue.streams.cli.terminal import Text, say
from segue.streams.client.redrive import Once, Range, again, each_record, feed, parse_bound
from segue.streams.client.topic_lag import TopicSurvey, survey
from segue.streams.security import acls
from segue.streams.settings import Settings
from segue.topics.contracts import BY_NAME

REPLAYABLE = [
    topic.name
    for topic in BY_NAME.values()
    if topic.cleanup == "delete" and not topic.beside and "outside" not in topic.read_by
]
"""The topics that can be redriven. A copy of an old status or state would undo newer ones, and a copy of a
result would be a second result."""


@click.group(invoke_without_command=True)
@output_option
@click.pass_context
def topics(ctx: click.Context, output: str) -> None:
    """Show what each topic holds, which stages write and read it, and the lag of each stage.

    RECORDS counts offsets, which include the markers of transactions.
    """
    if ctx.invoked_subcommand is None:
        _list(output)


@asynchronous
async def _list(output: str) -> None:
    settings = Settings.load()
    found = await survey(settings)
    if output == "json":
        emit_document([_document(settings, each) for each in found])
    else:
        print_table(_table(settings, found))


@topics.command(name="redrive")
@click.argument("topic", type=click.Choice(REPLAYABLE), metavar="TOPIC")
@click.option(
    "--from",
    "begin",
    metavar="BOUND",
    help="The first offset or ISO time; the topic's beginning if not given.",
)
@click.option("--to", "end", metavar="BOUND", help="The offset or ISO time to stop before; now if not given.")
@click.option("--partition", type=click.IntRange(min=0), help="Only this partition.")
@click.option("--task", help="Only records of this task.")
@click.option("--dry-run", is_flag=True, help="Count, but publish nothing.")
@output_option
@asynchronous
async def redrive_range(
    topic: str,
    begin: str | None,
    end: str | None,
    partition: int | None,
    task: str | None,
    dry_run: bool,
    output: str,
) -> None:
    """Send a range of TOPIC's records to it again, so that stages process them again.

    Copies from an earlier redrive are left out. Stages ignore tasks, signals and outcomes that they have
    seen. Calls are made again, with the same idempotency key. To redrive dead letters, use `segue
    dead-letters redrive`.

    \b
    segue topics redrive tasks --from 2026-11-23T14:00 --to 2026-11-23T15:00
    segue topics redrive events --partition 2 --from 1200 --to 1300
    """
    settings = Settings.load()
    wanted, once = Range(topic, parse_bound(begin), parse_bound(end), partition, task), Once()
    copies = (again(record) async for record in each_record(settings, wanted) if once(record))
    count = sum([1 async for _ in copies]) if dry_run else await feed(settings, copies)
    if output == "json":
        emit({"topic": topic, "records": count, "dry_run": dry_run})
    else:
        say(f"{count} records {'would be' if dry_run else 'were'} sent to {topic} again")


@topics.command(name="acls")
@click.option("--principal", metavar="NAME", help="The workers' principal, such as User:segue-worker.")
@click.option("--stages", help="The stages that the workers run, separated by commas; all if not given.")
@click.option("--create", is_flag=True, help="Also let the workers create missing topics.")
@click.option(
    "--upstream", metavar="NAME", multiple=True, help="A principal that starts tasks and sends signals."
)
@click.option(
    "--downstream",
    metavar="NAME",
    multiple=True,
    help="A principal that reads results, questions and dead letters.",
)
@click.option(
    "--operator",
    metavar="NAME",
    multiple=True,
    help="A principal that inspects and controls tasks with `segue`.",
)
@output_option
def print_acls(
    principal: str | None,
    stages: str | None,
    create: bool,
    upstream: tuple[str, ...],
    downstream: tuple[str, ...],
    operator: tuple[str, ...],
    output: str,
) -> None:
    """Print the minimal ACLs that each principal needs, as kafka-acls.sh commands or JSON.

    \b
    segue topics acls --principal User:segue-worker --upstream User:shop
    segue topics acls --principal User:segue-tools --stages tool,check
    """
    settings = Settings.load()
    rights = acls.worker(settings, principal, stages_of(stages), create) if principal else []
    rights += [each for name in upstream for each in acls.upstream(settings, name)]
    rights += [each for name in downstream for each in acls.downstream(settings, name)]
    rights += [each for name in operator for each in acls.operator(settings, name)]
    if not rights:
        raise click.UsageError(
            "no principal is named: give --principal, --upstream, --downstream or --operator"
        )
    if output == "json":
        emit_document([right._asdict() for right in rights])
    else:
        say("\n".join(acls.commands(settings, rights)))


def _table(settings: Settings, found: list[TopicSurvey]) -> Table:
    table = plain_table()
    for heading in ("TOPIC", "HOLDS", "WRITTEN BY"):
        table.add_column(heading, overflow="fold")
    for heading in ("PARTITIONS", "RECORDS"):
        table.add_column(heading, justify="right")
    table.add_column("KEPT", no_wrap=True)
    table.add_column("LAG OF ITS READERS")
    for each in found:
        name = Text(settings.topic(each.topic.name), style="bold" if each.partitions else "dim")
        exists = (str(each.partitions), f"{each.records:,}") if each.partitions else ("missing", "")
        table.add_row(name, each.topic.holds, _written_by(each), *exists, _retention_of(each), _lag(each))
    return table


def _written_by(each: TopicSurvey) -> Text:
    return Text(", ".join(each.topic.written_by), style="dim")


def _retention_of(each: TopicSurvey) -> str:
    if each.topic.cleanup == "compact":
        return "the latest of each key"
    return duration(each.topic.retention_ms)


def _lag(each: TopicSurvey) -> RichText:
    if not each.lag:
        return Text(", ".join(each.topic.read_by), style="dim")
    parts = [Text(f"{stage} {lag:,}", style="yellow" if lag else "green") for stage, lag in each.lag.items()]
    return Text(", ").join(parts)


def _document(settings: Settings, each: TopicSurvey) -> dict[str, object]:
    return {
        "topic": settings.topic(each.topic.name),
        "contract": each.topic.name,
        "holds": each.topic.holds,
        "written_by": each.topic.written_by,
        "read_by": each.topic.read_by,
        "cleanup": each.topic.cleanup,
        "retention_ms": each.topic.retention_ms if each.topic.cleanup == "delete" else None,
        "partitions": each.partitions,
        "records": each.records,
        "lag": each.lag,
    }
