"""Describes exceptions: any of them, whatever its class does, within bounds.

An exception of user code may lie about itself: its text, attributes or notes may raise or be of another type,
its causes may form a cycle or a chain of thousands, its groups may be nested without end. No function here
raises, and what it returns is text that UTF-8 has, of a bounded length.

One thing has no bound within a process: a `__str__` that never returns holds its thread. A worker's watchdog
says where.
"""

import asyncio
import textwrap
import traceback
from collections import deque
from collections.abc import Callable, Iterator
from itertools import islice
from opcode import opmap
from types import FrameType, TracebackType
from typing import Any, TypeVar

T = TypeVar("T")

TEXT_CHARS_MAX = 200_000
"""Of an exception's text no more is looked at: secrets are searched for in it."""

NAME_CHARS_MAX = 200

LINK_CHARS_MAX = 10_000
"""Of each exception's text in a traceback."""

EXCEPTIONS_MAX = 30
"""In one traceback, causes and members of groups counted together."""

FRAMES_MAX = 40
MEMBERS_MAX = 10
DEPTH_MAX = 5
NOTES_MAX = 10

RAISE = opmap["RAISE_VARARGS"]

DIRECT_CAUSE = "\nThe above exception was the direct cause of the following exception:\n\n"
DURING_HANDLING = "\nDuring handling of the above exception, another exception occurred:\n\n"

_OURS = __file__.removesuffix("topics/descriptions.py")


def guarded(read: Callable[[], T], otherwise: T) -> T:
    """Return `read()`, or `otherwise` if it raises anything but a person's Ctrl-C."""
    try:
        return read()
    except BaseException as error:
        if is_ctrl_c(error):
            raise
        return otherwise


def is_ctrl_c(error: BaseException) -> bool:
    """Return whether a person raised it: by the handler that `asyncio.run` sets, or by Python's own.

    Python's own interrupts code at any instruction; code that raises it itself is at a `raise`.
    """
    last = error.__traceback__ if type(error) is KeyboardInterrupt else None
    while last is not None and last.tb_next is not None:
        last = last.tb_next
    if last is None:
        return False
    code = last.tb_frame.f_code
    return code.co_filename == asyncio.runners.__file__ or code.co_code[last.tb_lasti] != RAISE


def attribute_of(error: BaseException, name: str) -> Any:
    """Return the attribute; None if it is missing or can't be read."""
    return guarded(lambda: getattr(error, name, None), None)


def kind_of(error: object) -> str:
    """Return the name of its class."""
    name = guarded(lambda: type(error).__name__, "")
    return name[:NAME_CHARS_MAX] if type(name) is str else "exception"


def text_of(error: object, most: int = TEXT_CHARS_MAX) -> str:
    """Return `str(error)`, at most its first `most` characters; a sentence if it has no text."""
    return guarded(
        lambda: shortened(str(error), most), f"(its text can't be read: {kind_of(error)}.__str__ fails)"
    )


def shortened(text: str, most: int) -> str:
    """Return at most the first `most` characters, with how many are left out; lone surrogates are escaped.

    A subclass of `str` counts by its characters, whatever its methods say.
    """
    kept = str.__getitem__(text, slice(0, most)).encode(errors="backslashreplace").decode()
    left = str.__len__(text) - most
    return f"{kept}… ({left} more characters)" if left > 0 else kept


# ---------------------------------------------------------------- tracebacks


def traceback_of(error: BaseException, chars_max: int, *, ours: bool = False) -> str:
    """Return the last lines of the traceback, within `chars_max` characters.

    Segue's own frames are left out unless `ours`: they say nothing about a mistake in user code.
    """
    text = guarded(
        lambda: _Traceback(ours).of(error, 0), f"{kind_of(error)}: {text_of(error, LINK_CHARS_MAX)}\n"
    )
    if len(text) <= chars_max:
        return text
    tail = text[-chars_max:]
    return tail.partition("\n")[2] or tail


class _Traceback:
    """One traceback while it is written: which exceptions it has already, and whose frames it shows."""

    def __init__(self, ours: bool) -> None:
        self._ours = ours
        self._seen: set[int] = set()

    def of(self, error: BaseException, depth: int) -> str:
        """The exception and what led to it, the first cause first, as Python writes it."""
        return "".join(reversed(list(self._blocks(error, depth))))

    def _blocks(self, error: BaseException, depth: int) -> Iterator[str]:
        link: BaseException | None = error
        between = ""
        while link is not None and id(link) not in self._seen:
            if len(self._seen) >= EXCEPTIONS_MAX:
                yield f"(there are more exceptions){between or chr(10)}"
                return
            self._seen.add(id(link))
            yield self._alone(link) + self._members(link, depth) + between
            link, between = _led_by(link)

    def _alone(self, error: BaseException) -> str:
        frames = guarded(lambda: self._frames(error.__traceback__), "")
        name = guarded(lambda: _qualified(type(error)), kind_of(error))
        text = text_of(error, LINK_CHARS_MAX)
        return frames + (f"{name}: {text}" if text else name) + "\n" + "".join(_notes(error))

    def _frames(self, trace: TracebackType | None) -> str:
        """Where all frames are Segue's own, they are shown in any case."""
        chosen = deque((f for f in traceback.walk_tb(trace) if self._ours or not _is_ours(f[0])), FRAMES_MAX)
        shown = chosen or deque(traceback.walk_tb(trace), FRAMES_MAX)
        if not shown:
            return ""
        lines = traceback.StackSummary.extract(iter(shown)).format()
        return shortened("Traceback (most recent call last):\n" + "".join(lines), TEXT_CHARS_MAX)

    def _members(self, error: BaseException, depth: int) -> str:
        """Those of a group, each with its own causes, indented."""
        if not issubclass(type(error), BaseExceptionGroup):
            return ""
        members = members_of(error)
        if depth >= DEPTH_MAX:
            return f"  (of {len(members)} exceptions)\n"
        shown = [
            f"  {number} of {len(members)}:\n" + textwrap.indent(self.of(member, depth + 1), "  | ")
            for number, member in enumerate(islice(members, MEMBERS_MAX), 1)
        ]
        return "".join(shown) + (f"  and {left} more\n" if (left := len(members) - MEMBERS_MAX) > 0 else "")


def _led_by(error: BaseException) -> tuple[BaseException | None, str]:
    cause, context = attribute_of(error, "__cause__"), attribute_of(error, "__context__")
    if issubclass(type(cause), BaseException):
        return cause, DIRECT_CAUSE
    if issubclass(type(context), BaseException) and attribute_of(error, "__suppress_context__") is not True:
        return context, DURING_HANDLING
    return None, ""


def _qualified(kind: type[BaseException]) -> str:
    module = kind.__module__
    name = kind.__qualname__ if module in ("builtins", "__main__") else f"{module}.{kind.__qualname__}"
    return shortened(name, NAME_CHARS_MAX)


def _notes(error: BaseException) -> Iterator[str]:
    notes = attribute_of(error, "__notes__")
    for note in notes[:NOTES_MAX] if type(notes) in (list, tuple) else ():
        yield text_of(note, LINK_CHARS_MAX) + "\n"


def _is_ours(frame: FrameType) -> bool:
    return frame.f_code.co_filename.startswith(_OURS)


def members_of(error: BaseException) -> tuple[BaseException, ...]:
    """Return what a group holds; nothing for any other exception, whatever attributes that has."""
    if not issubclass(type(error), BaseExceptionGroup):
        return ()
    members: tuple[BaseException, ...] = vars(BaseExceptionGroup)["exceptions"].__get__(error)
    return members
