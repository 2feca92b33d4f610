"""The TASK argument, whose values the shell completes from the tasks that there are."""

import asyncio
import logging

import click
from click.shell_completion import CompletionItem

from streams.gateway import Client
from streams.settings import Settings
from streams.visible import visible
from topics.errors import SegueError

COMPLETED_MAX = 30


def _complete(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:  # noqa: ARG001
    """The newest tasks. A shell that completes must not print errors: without a broker there is nothing."""
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)
    try:
        return asyncio.run(_newest(incomplete))
    except SegueError:
        return []


async def _newest(incomplete: str) -> list[CompletionItem]:
    async with Client(Settings.load()) as client:
        every = await client.statuses()
    found = [s for s in every if s.task.startswith(incomplete) and visible(s.task) == s.task]
    return [CompletionItem(s.task, help=visible(f"{s.workflow}, {s.state}")) for s in found[:COMPLETED_MAX]]


task_argument = click.argument("task", shell_complete=_complete)
