"""Makes of each misuse of a workflow's task a `BadInput` with a sentence: a bug, which parks the task.

A workflow's code may give anything to the task. It is checked where it is given, before a step is asked for:
a wrong type, an id that is none, a value that JSON does not have. What comes from outside (an answer, a
signal, a result) is not checked here: it is no mistake of the code.
"""

from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from inspect import isawaitable
from math import isnan
from types import TracebackType
from typing import Any, cast

from pydantic import TypeAdapter, ValidationError

from segue.processors.payloads.values import adapter_for
from segue.topics.codec import describe
from segue.topics.descriptions import guarded, kind_of, shortened
from segue.topics.errors import BadInput, SegueError, in_words
from segue.topics.records import TaskId

SHOWN_CHARS_MAX = 60

_TASK_ID: TypeAdapter[str] = TypeAdapter(TaskId)


class Asking:
    """`with Asking("a tool"):` whatever else goes wrong while it is asked for is a misuse as well."""

    __slots__ = ("_what",)

    def __init__(self, what: str) -> None:
        self._what = what

    def __enter__(self) -> None:
        return None

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None
    ) -> None:
        if error is not None and isinstance(error, Exception) and not isinstance(error, SegueError):
            raise BadInput(f"{self._what} can't be called with these arguments: {in_words(error)}") from error


def wrong(where: str, wanted: str, given: object) -> BadInput:
    return BadInput(f"{where} takes {wanted}, not {bounded_repr(given)}")


def bounded_repr(value: object) -> str:
    return shortened(guarded(lambda: repr(value), kind_of(value)), SHOWN_CHARS_MAX)


def check_text(where: str, value: object) -> None:
    if not isinstance(value, str):
        raise wrong(where, "text", value)


def check_options(where: str, options: object) -> None:
    if options is None:
        return
    if not isinstance(options, Mapping):
        raise wrong(where, 'labels with their values, as options={"yes": True}', options)
    if not options:
        raise BadInput(f"{where}: there are no options to choose from")
    for label in cast("Mapping[object, object]", options):
        if not isinstance(label, str):
            raise wrong(where, f"labels that are text, as options={{{str(bounded_repr(label))!r}: …}}", label)


def check_within(where: str, within: object) -> None:
    if within is not None and not isinstance(within, timedelta):
        raise wrong(where, "a timedelta, as timeout=timedelta(hours=2)", within)
    if within is not None and within < timedelta():
        raise BadInput(
            f"{where}: timeout={within} is negative: give timedelta(0) for a question that closes at once"
        )


def check_id(where: str, known_as: object, own: str) -> None:
    if known_as is None:
        return
    if known_as == own:
        raise BadInput(
            f"{where}: {bounded_repr(own)} is the id of this task itself: give another id, or leave id out"
        )
    try:
        _TASK_ID.validate_python(known_as, strict=True)
    except ValidationError as error:
        rule = "an id is text of 1 to 200 characters, none of them a control character"
        raise BadInput(
            f"{where}: {bounded_repr(known_as)} is not a valid id: {describe(error)}: {rule}"
        ) from None


def check_model(where: str, instructions: object, stream: object) -> None:
    if instructions is not None:
        check_text(f"{where}: instructions", instructions)
    if stream is not None and not isinstance(stream, bool):
        raise wrong(f"{where}: stream", "True or False", stream)


def check_version(where: str, version: object) -> None:
    if version is not None and type(version) is not int:
        raise wrong(where, "a whole number, as version=2", version)


def seconds_of(how_long: object) -> float:
    if isinstance(how_long, timedelta):
        return how_long.total_seconds()
    if not isinstance(how_long, int | float) or isnan(how_long):
        raise wrong("task.sleep(…)", "seconds or a timedelta", how_long)
    return guarded(lambda: float(how_long), float("inf"))


def check_steps(steps: Iterable[object], failures: object) -> None:
    if failures not in ("raise", "return"):
        raise wrong("task.gather(…, failures=…)", "'raise' or 'return'", failures)
    for step in steps:
        if not isawaitable(step):
            raise wrong("task.gather(…)", "steps, as task.gather(*(task.tool(…) for …))", step)


def check_moment(when: object) -> None:
    if not isinstance(when, datetime):
        raise wrong("task.sleep_until(…)", "a datetime with a time zone", when)
    if when.tzinfo is None:
        raise BadInput(f"sleep_until needs a time with a time zone, but {when.isoformat()} has none")


def adapter_of(where: str, kind: Any) -> TypeAdapter[Any]:
    """Raises `BadInput` for what is no type, or one that JSON can't be read as."""
    try:
        return adapter_for(kind)
    except Exception as error:
        raise BadInput(
            f"{where} takes a type that can be read from JSON, not {bounded_repr(kind)}: {in_words(error)}"
        ) from error
