"""The command line, `segue`.

This module knows each command by name, place and one line of help, so that `segue --help` imports none: a
command's module, and what that needs, is imported when it runs. Errors that Segue expects become one line on
stderr and an exit code here, for all commands; anything else is a bug and keeps its traceback.
"""

import logging
import sys
import traceback
from importlib import import_module
from importlib.metadata import version
from types import TracebackType
from typing import IO, Any

import click

from segue.streams.text.control_characters import visible

COMMANDS = {
    "dev": ("dev:dev", "Start broker, services and worker here, and run a task."),
    "broker": ("broker:broker", "The local Kafka: start, stop, status, logs."),
    "worker": ("worker:worker", "Run the stages of an app."),
    "run": ("tasks:run", "Start a task."),
    "tasks": ("tasks:tasks", "List tasks, the newest first."),
    "show": ("tasks:show", "Show a task's steps as a timeline."),
    "watch": ("tasks:watch_task", "Follow a task as it happens, to its end."),
    "ui": ("ui:ui", "Serve a web page that shows tasks and answers questions."),
    "answer": ("signals:answer", "Answer a task's question."),
    "signal": ("signals:signal", "Send a signal to a task."),
    "cancel": ("signals:cancel", "Cancel a task."),
    "schedules": ("schedules:schedules", "Schedules: list, add, pause, resume, remove."),
    "budget": ("spending:budget", "Set a task's budget."),
    "usage": ("spending:usage", "Show what tasks have consumed, by workflow or tenant."),
    "health": ("health:health", "Show the health of candidates: circuits, failures, latencies."),
    "replay": ("replay:replay", "Run a task's workflow again over its log, without effects."),
    "topics": ("topics:topics", "List topics, their readers and lag; redrive a range."),
    "dead-letters": ("dead_letters:dead_letters", "Dead letters: list, show, redrive."),
    "mcp": ("mcp:mcp", "Serve an app's workflows as tools to MCP clients."),
    "keys": ("keys:keys", "Create encryption keys."),
    "completion": ("completion:completion", "Print the shell's completion script."),
}

EPILOG = """\b
Exit codes:
  0  done
  1  the task failed (run --wait, watch, dev --exit-when-done)
  2  wrong usage, invalid input, or an extra that is not installed
  3  no such task, workflow or name
  4  the broker or a service can't be reached
  130  interrupted

\b
Environment:
  SEGUE_KAFKA  a Kafka cluster's host:port; if it is not set, the local broker is used
  SEGUE_APP    the app, for commands that take one: examples/travel, travel.app, travel.app:app
  NO_COLOR     no colours
"""

INTERRUPTED = 130


class Failure(click.ClickException):
    """An expected error: its message, one line on stderr."""

    def __init__(self, error: Exception, exit_code: int) -> None:
        super().__init__(str(error))
        self.exit_code = exit_code

    def show(self, file: IO[Any] | None = None) -> None:
        said = visible(self.message, lines=True)
        click.echo(f"{click.style('segue:', fg='red', bold=True)} {said}", err=True, file=file)


def _exit_code(error: Exception) -> int | None:
    """Return the exit code, or None if the error is a bug. The import is here because it would double the
    time of `--help`."""
    from segue.topics.errors import BadInput, MissingExtra, SegueError, Unavailable, UnknownName

    match error:
        case BadInput() | MissingExtra():
            return 2
        case UnknownName():
            return 3
        case Unavailable():
            return 4
        case SegueError() | TimeoutError():
            return 1
        case _:
            return None


class Commands(click.Group):
    """A group whose commands are imported when they are needed."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        module, _, attribute = COMMANDS[cmd_name][0].partition(":")
        command: click.Command = getattr(import_module(f"{__name__}.commands.{module}"), attribute)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, summary) for name, (_, summary) in COMMANDS.items()])

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Suggest the most similar command if the command is unknown."""
        try:
            return super().resolve_command(ctx, args)
        except click.UsageError as error:
            from difflib import get_close_matches

            if close := get_close_matches(args[0], COMMANDS, n=1):
                error.message += f" Did you mean {close[0]!r}?"
            raise

    def main(self, *args: Any, **options: Any) -> Any:
        """Run the commands. Control characters are made visible in tracebacks and log lines too."""
        sys.excepthook = _traceback_shown
        if logging.lastResort is not None:
            logging.lastResort.setFormatter(Shown())
        return super().main(*args, **options)

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except (click.exceptions.Exit, click.Abort):
            raise
        except click.ClickException as error:  # it quotes what was typed
            error.message = visible(error.message, lines=True)
            raise
        except Exception as error:
            code = _exit_code(error)
            if code is None:
                raise
            raise Failure(error, code) from None
        except KeyboardInterrupt:
            ctx.exit(INTERRUPTED)


class Shown(logging.Formatter):
    """The log format for commands that configure no logging."""

    def format(self, record: logging.LogRecord) -> str:
        return visible(super().format(record), lines=True)


def _traceback_shown(kind: type[BaseException], error: BaseException, where: TracebackType | None) -> None:
    """Write a bug's traceback with visible control characters: its message may quote outside data."""
    sys.stderr.write(visible("".join(traceback.format_exception(kind, error, where)), lines=True))


def _version(ctx: click.Context, _: click.Parameter, wanted: bool) -> None:
    if wanted and not ctx.resilient_parsing:
        click.echo(f"segue {version('segue')}")
        ctx.exit()


@click.group(cls=Commands, epilog=EPILOG, context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--version", is_flag=True, is_eager=True, expose_value=False, callback=_version, help="Print the version."
)
def main() -> None:
    """Durable AI workflows in plain Python, on Apache Kafka.

    \b
    Begin with:
      segue dev examples/travel
    """
