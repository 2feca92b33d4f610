"""The TASK argument, whose values the shell completes from the tasks that there are."""

import asyncio
import logging

import click
from click.shell_completion import CompletionItem

from segue.streams.client.newest_records import NewestItems
from segue.streams.client.status_table import each_status
from segue.streams.settings import Settings
from segue.streams.text.control_characters import visible
from segue.topics.errors import SegueError

COMPLETED_MAX = 30


def _complete(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:  # noqa: ARG001
    """The newest tasks. A shell that completes must not print errors: without a broker there is nothing."""
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)
    try:
        return asyncio.run(_newest(incomplete))
    except SegueError:
        return []


async def _newest(incomplete: str) -> list[CompletionItem]:
    newest = NewestItems[tuple[int, str], str](COMPLETED_MAX)
    async for s in each_status(Settings.load()):
        if s.task.startswith(incomplete) and visible(s.task) == s.task:
            newest.add((s.started_ms, s.task), visible(f"{s.workflow}, {s.state}"))
    return [CompletionItem(task, help=state) for (_, task), state in newest.found]


task_argument = click.argument("task", shell_complete=_complete)
