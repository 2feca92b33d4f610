"""Commands that send something to a task: answer, signal, cancel."""

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
@click.option("--step", type=click.IntRange(min=0), help="The step of the question, if several are open.")
@output_option
@asynchronous
async def answer(task: str, value: str, step: int | None, output: str) -> None:
    """Answer TASK's open question with VALUE: an option's number or label, or else JSON or text.

    Fails with exit code 2 if another answer came first, or if the question is closed.
    """
    async with Client(Settings.load()) as client:
        question = question_for(await client.status(task), step)
        meant = chosen(question, value)
        counted = await client.answer(task, meant, question.step)
    said = confirmed(question, meant, value)
    _report(output, said, task=task, step=question.step, value=meant, counted=counted)
    if not counted:
        say(
            f"{task} has not processed the answer yet: is a worker running, or is it parked?",
            err=True,
        )


@click.command()
@task_argument
@click.argument("name")
@click.argument("value", required=False)
@click.option("--id", "known_as", help="An id: a signal that is sent twice with the same id counts once.")
@output_option
@asynchronous
async def signal(task: str, name: str, value: str | None, known_as: str | None, output: str) -> None:
    """Send signal NAME to TASK, with VALUE (JSON or text)."""
    meant = json_or_text(value) if value is not None else None
    async with Client(Settings.load()) as client:
        await client.signal(task, name, meant, known_as)
    _report(output, f"sent signal {name} to {task}", task=task, name=name, value=meant)


@click.command()
@task_argument
@click.option(
    "--reason", default="cancelled on request", show_default=True, help="The reason that the task gets."
)
@click.option(
    "--force", is_flag=True, help="End the task at once without running its code: nothing is undone."
)
@output_option
@asynchronous
async def cancel(task: str, reason: str, force: bool, output: str) -> None:
    """Cancel TASK: its workflow is cancelled at the point where it waits, and may clean up.

    With --force the task ends at once, without running its code, and nothing that it did is undone. Use it
    for a task that does not stop, or that is parked because its code has changed or is gone: such a task does
    not get the cancellation before that code is back. The task's children are cancelled without --force.
    """
    async with Client(Settings.load()) as client:
        status = await client.status(task)
        await client.cancel(task, reason, force=force)
    said = f"requested to end {task} at once" if force else f"requested to cancel {task}"
    _report(output, said, task=task, reason=reason, force=force)
    if not force and (later := heard_later(status)):
        say(later, err=True)


def heard_later(status: Status) -> str | None:
    """Return the note for a cancelled task that is parked without code which could process the
    cancellation."""
    if status.state != "parked" or status.problem is None or hears_at_once(status.problem):
        return None
    return (
        "the task is parked, and gets the cancellation only when code that fits it is back; "
        f"`{command_name()} cancel {status.task} --force` ends it now"
    )


def confirmed(question: Question, meant: Any, typed: str) -> str:
    """Return the confirmation, with the first line of the question."""
    option = option_with(meant, question.options)
    return f"answered {headline(question.text)!r}: {option.label if option else typed}"


def _report(output: str, sentence: str, **fields: object) -> None:
    emit(fields) if output == "json" else say(sentence)
