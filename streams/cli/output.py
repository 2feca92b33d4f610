"""The common parts of commands: output as text or JSON, and coroutines as commands."""

import asyncio
import logging
import os
import shutil
import signal
import sys
from collections.abc import Callable, Coroutine
from functools import wraps
from typing import Any, ParamSpec, TypeVar

import click
from pydantic_core import to_json

from segue.streams.process.user_code import WorkerLoop
from segue.streams.text.control_characters import escaped

P = ParamSpec("P")
T = TypeVar("T")

run_option = click.option(
    "--run",
    type=click.IntRange(min=0),
    metavar="N",
    help="The run of a task that has continued as new, counted from 0; the last if not given.",
)

TASK_FAILED = 1
"""The exit code of a command that waited for a task which failed."""

output_option = click.option(
    "--output",
    "-o",
    type=click.Choice(["text", "json"]),
    default="text",
    show_default=True,
    help="Text for people, or JSON: one document, or one document a line for a stream.",
)


def command_name() -> str:
    """Return the command to type: `segue`, or its path if its environment is not activated."""
    return "segue" if shutil.which("segue") else os.path.relpath(sys.argv[0])


def emit(value: Any, indent: int | None = None) -> None:
    """JSON on stdout: indented for a document, on one line in a stream."""
    sys.stdout.write(escaped(to_json(value, indent=indent, fallback=_as_json).decode()) + "\n")
    sys.stdout.flush()


def emit_document(value: Any) -> None:
    emit(value, indent=2)


def _as_json(value: Any) -> Any:
    if isinstance(value, bytes):
        return value.decode(errors="replace")
    return repr(value)


def asynchronous(function: Callable[P, Coroutine[Any, Any, T]]) -> Callable[P, T]:
    """Make a command of a coroutine. Kafka's client logs only critical errors: the command reports the
    others.

    SIGTERM ends it as Ctrl-C does, so that it stops the processes which it started.
    """

    @wraps(function)
    def run(*args: P.args, **kwargs: P.kwargs) -> T:
        logging.getLogger("aiokafka").setLevel(logging.CRITICAL)
        try:
            with asyncio.Runner(loop_factory=WorkerLoop) as runner:
                return runner.run(_until_terminated(function(*args, **kwargs)))
        except asyncio.CancelledError:
            raise KeyboardInterrupt from None

    return run


async def _until_terminated(command: Coroutine[Any, Any, T]) -> T:
    """Run the command until SIGTERM cancels its task: it stops at an await, not at any line."""
    task = asyncio.current_task()
    assert task is not None
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    return await command
