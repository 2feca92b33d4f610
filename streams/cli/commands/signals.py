"""Commands that tell a task something: answer, signal, cancel."""

from typing import Any

import click

from segue.processors.formatting import headline
from segue.processors.payloads.options import option_with
from segue.processors.workflow.parking import hears_at_once
from segue.streams.cli.output import asynchronous, command_name, emit, output_option
from segue.streams.cli.task_ids import task_argument
from segue.streams.cli.terminal import say
from segue.streams.client.answers import chosen, json_or_text, question_for
from segue.streams.client.client import Client
from segue.streams.settings import Settings
from segue.topics.records import Question, Status


@click.command()
@task_argument
@click.argument("value")
@click.option("--step", type=click.IntRange(min=0), help="Which question, where several are open.")
@output_option
@asynchronous
async def answer(task: str, value: str, step: int | None, output: str) -> None:
    """Answer TASK's open question with VALUE: an option's number or label, else JSON or text.

    Says so where another answer came first, or the question is closed by now (exit code 2).
    """
    async with Client(Settings.load()) as client:
        question = question_for(await client.status(task), step)
        meant = chosen(question, value)
        counted = await client.answer(task, meant, question.step)
    said = confirmed(question, meant, value)
    _report(output, said, task=task, step=question.step, value=meant, counted=counted)
    if not counted:
        say(f"{task} has not taken the answer yet: is a worker running, or is it parked?", err=True)


@click.command()
@task_argument
@click.argument("name")
@click.argument("value", required=False)
@click.option("--id", "known_as", help="The same id twice counts once.")
@output_option
@asynchronous
async def signal(task: str, name: str, value: str | None, known_as: str | None, output: str) -> None:
    """Tell TASK of the outside event NAME, with VALUE (JSON, or text)."""
    meant = json_or_text(value) if value is not None else None
    async with Client(Settings.load()) as client:
        await client.signal(task, name, meant, known_as)
    _report(output, f"told {task} of {name}", task=task, name=name, value=meant)


@click.command()
@task_argument
@click.option("--reason", default="cancelled on request", show_default=True, help="What the task is told.")
@click.option("--force", is_flag=True, help="End it at once, without its code: nothing is undone.")
@output_option
@asynchronous
async def cancel(task: str, reason: str, force: bool, output: str) -> None:
    """Ask TASK to stop: its workflow is cancelled where it waits, and may clean up.

    With --force it is not asked: it ends where it is, and what it did stays done. That is for a task that
    does not stop, or that is parked since its code has changed or is gone: it hears nothing before that code
    is back. Its children are asked to stop.
    """
    async with Client(Settings.load()) as client:
        status = await client.status(task)
        await client.cancel(task, reason, force=force)
    said = f"told {task} to end at once" if force else f"asked {task} to stop"
    _report(output, said, task=task, reason=reason, force=force)
    if not force and (later := heard_later(status)):
        say(later, err=True)


def heard_later(status: Status) -> str | None:
    """What to say where a task that is asked to stop has no code to hear it."""
    if status.state != "parked" or status.problem is None or hears_at_once(status.problem):
        return None
    return (
        "it is parked, and will hear of it once code that fits it is back; "
        f"`{command_name()} cancel {status.task} --force` ends it now"
    )


def confirmed(question: Question, meant: Any, typed: str) -> str:
    """By the question's first line: whoever answers has just read the rest."""
    option = option_with(meant, question.options)
    return f"answered {headline(question.text)!r}: {option.label if option else typed}"


def _report(output: str, sentence: str, **fields: object) -> None:
    emit(fields) if output == "json" else say(sentence)
