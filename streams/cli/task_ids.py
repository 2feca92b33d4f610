"""The TASK argument, whose values the shell completes from the tasks that there are."""

import asyncio
import logging

import click
from click.shell_completion import CompletionItem

from streams.gateway import Client
from streams.settings import Settings
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
        found = [s for s in await client.statuses() if s.task.startswith(incomplete)]
    return [CompletionItem(s.task, help=f"{s.workflow}, {s.state}") for s in found[:COMPLETED_MAX]]


task_argument = click.argument("task", shell_complete=_complete)
