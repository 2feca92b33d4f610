"""Any exception has a description: whatever its text, attributes, causes, groups, notes and headers are."""

import sys
import traceback
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from segue.processors.workflow.completion import TRACEBACK_CHARACTERS_MAX, problem_by
from segue.streams.calls.failures import MESSAGE_CHARS_MAX, TRACEBACK_CHARS_MAX, problem_of
from segue.topics import codec
from segue.topics.descriptions import EXCEPTIONS_MAX, traceback_of
from segue.topics.errors import OutputRejected, Permanent, Retryable, StepError
from segue.topics.records import Problem
from tests.builders import call_tool, failure

ROOM_CHARS = 200
"""What is said beside a text that was cut."""


class Text(str):
    """Text that lies about itself."""

    __slots__ = ()

    def __len__(self) -> int:
        return 0

    def __getitem__(self, _: Any) -> str:
        raise LookupError

    def encode(self, *_: Any, **__: Any) -> bytes:
        raise UnicodeError


class Odd:
    """A value of which nothing can be asked."""

    def __repr__(self) -> str:
        raise RuntimeError("no repr")

    def __bool__(self) -> bool:
        raise RuntimeError("no truth")

    def __getattr__(self, name: str) -> Any:
        raise RuntimeError(f"no {name}")


VALUES: list[Any] = [
    *(None, "", 0, True, b"\xff", [], {}, object(), Odd(), Text("x"), 10**5000, float("nan"), -1e400),
    *(
        datetime.now(UTC),
        "\ud800",
        "x" * 500_000,
        "\0\x1b]52;c;x\a",
        ["\ud800", 3, Odd()],
        {"retry-after": Odd()},
    ),
]

RAISED: list[type[BaseException]] = [ValueError, SystemExit, GeneratorExit, KeyboardInterrupt, RecursionError]

KINDS: list[type[BaseException]] = [
    *(Exception, BaseException, KeyError, OSError, UnicodeDecodeError, SyntaxError, TimeoutError),
    *(ConnectionError, KeyboardInterrupt, StopIteration, Retryable, Permanent, OutputRejected, StepError),
    *(httpx.HTTPStatusError, httpx.ReadTimeout),
]

NAMES = (
    *("__str__", "__repr__", "__class__", "__notes__", "__cause__", "__context__", "__traceback__", "args"),
    *("__suppress_context__", "exceptions", "retry_after_s", "problem", "response", "status", "status_code"),
    *("headers", "request", "__module__", "__qualname__", "critique", "usage"),
)


def takes_anything(self: BaseException, *args: Any) -> None:
    """As `__init__`."""


@st.composite
def exceptions(draw: st.DrawFn) -> BaseException:
    """One of a class of its own: some of its attributes raise, others are of any type."""
    namespace: dict[str, Any] = {"__init__": takes_anything}
    for name in draw(st.lists(st.sampled_from(NAMES), max_size=5, unique=True)):
        namespace[name] = draw(
            st.one_of(st.sampled_from(RAISED).map(raises), st.sampled_from(VALUES).map(gives))
        )
        if name in ("__str__", "__repr__"):
            namespace[name] = namespace[name].fget
    namespace["__module__"] = namespace.get("__module__", "shop")
    namespace.pop("__qualname__", None)
    kind = type("Hostile", (draw(st.sampled_from(KINDS)),), namespace)
    error: BaseException = kind.__new__(kind, *draw(st.lists(st.sampled_from(VALUES), max_size=2)))
    return error


def raises(kind: type[BaseException]) -> property:
    def read(_: object) -> Any:
        raise kind("unreadable")

    return property(read)


def gives(value: Any) -> property:
    return property(lambda _: value)


def linked(errors: list[BaseException]) -> BaseException:
    for error, cause in zip(errors, errors[1:] + errors[:1], strict=True):
        BaseException.__dict__["__context__"].__set__(error, cause)
    return errors[0]


def described(error: BaseException) -> tuple[Problem, Problem]:
    """As a tool's and as a workflow's; both fit into records of a bounded size."""
    found, ended = problem_of(error), problem_by(error)
    for problem, most in ((found, TRACEBACK_CHARS_MAX), (ended, TRACEBACK_CHARACTERS_MAX)):
        codec.decode("failures", codec.encode(failure(call_tool(), problem=problem)))
        assert len(problem.traceback or "") <= most
    assert len(found.message) <= MESSAGE_CHARS_MAX + ROOM_CHARS
    return found, ended


@settings(max_examples=400, deadline=None)
@given(st.lists(exceptions(), min_size=1, max_size=3))
def test_any_exception_has_a_description(errors: list[BaseException]) -> None:
    found, ended = described(linked(errors))
    assert found.type
    assert ended.type


class Busy(Retryable):
    def __init__(self, host: str) -> None:
        self.host = host


def test_a_subclass_that_calls_no_super_is_told_by_what_it_was_given() -> None:
    found, ended = described(Busy("db-1"))
    assert found == Problem(type="Busy", message="db-1")
    assert (ended.type, ended.message) == ("Busy", "db-1")


@pytest.mark.parametrize(
    "asked",
    ["soon", datetime(2027, 1, 1, tzinfo=UTC), Odd(), [3], float("nan")],
    ids=["text", "time", "odd", "list", "nan"],
)
def test_a_wait_that_is_no_number_is_ignored_and_told(asked: Any) -> None:
    found, _ = described(Retryable("busy", retry_after_s=asked))
    assert found.retry_after_s is None
    assert found.message.startswith("busy (retry_after_s=")
    assert found.message.endswith("is no number of seconds: it is ignored)")


class Gone(Exception):
    def __init__(self, headers: Any) -> None:
        super().__init__()
        self.status, self.headers = 503, headers


@pytest.mark.parametrize(
    "headers",
    [3, "retry-after: 3", {b"\xff": Odd()}, Odd(), {"retry-after": Odd()}],
    ids=["number", "text", "bytes", "odd", "odd within"],
)
def test_malformed_headers_do_not_hide_the_status(headers: Any) -> None:
    found, _ = described(Gone(headers))
    assert (found.message, found.retryable) == ("HTTP 503 Service Unavailable", True)


@pytest.mark.parametrize(
    "date", ["Fri, 31 Dec 9999 23:59:59 -2359", "Mon, 01 Jan 0001 00:00:00 +2359", "x" * 9_999]
)
def test_a_date_that_no_clock_has_is_ignored(date: str) -> None:
    found, _ = described(Gone({"retry-after": date}))
    assert (found.message, found.traceback) == ("HTTP 503 Service Unavailable", None)


def test_a_number_that_is_no_http_status_is_none() -> None:
    class Coded(Exception):
        status = 10**5000

    found, _ = described(Coded("x"))
    assert (found.message, found.retryable) == ("Coded: x", True)


def chained(length: int) -> BaseException:
    first = error = ValueError("the first")
    for number in range(length):
        following = ValueError(f"number {number}")
        following.__cause__, error = error, following
    assert first.__cause__ is None
    return error


def test_a_long_chain_of_causes_is_cut() -> None:
    for each in described(chained(100_000)):
        told = each.traceback or ""
        assert told.count("ValueError: number") <= EXCEPTIONS_MAX
        assert told.endswith("ValueError: number 99999\n")


def test_a_cycle_of_causes_is_told_once() -> None:
    one, other = ValueError("one"), ValueError("other")
    one.__cause__, other.__cause__ = other, one
    for each in described(one):
        assert (each.traceback or "").count("ValueError: one") == 1


def nested(depth: int) -> BaseException:
    error: BaseException = KeyError("innermost")
    for _ in range(depth):
        several: list[BaseException] = [error, ValueError("beside")]
        error = BaseExceptionGroup("several", several)
    return error


@pytest.mark.parametrize(
    "group", [nested(900), ExceptionGroup("many", [ValueError("x" * 9_999)] * 100_000)], ids=["deep", "wide"]
)
def test_a_group_is_told_within_bounds(group: BaseException) -> None:
    found, _ = described(group)
    assert "ValueError: " in found.message


def test_the_members_of_a_group_are_told() -> None:
    def fail() -> Iterator[None]:
        raise KeyError("room")
        yield

    with pytest.raises(KeyError) as missing:
        next(fail())
    found, _ = described(ExceptionGroup("two", [missing.value, ValueError("no")]))
    told = found.traceback or ""
    assert "  2 of 2:\n  | ValueError: no\n" in told
    assert "  |     raise KeyError(\"room\")\n  | KeyError: 'room'\n" in told


def test_a_group_of_one_within_others_is_that_one_however_deep() -> None:
    error: Exception = Permanent("sold out")
    for _ in range(50_000):
        members: list[Exception] = [error]
        error = ExceptionGroup("one", members)
    assert problem_of(error) == Problem(type="Permanent", message="sold out", retryable=False)


def test_an_exception_that_only_names_others_is_no_group() -> None:
    class Several(Exception):
        exceptions = (Permanent("x"),)

    found, _ = described(Several("none of them"))
    assert (found.type, found.message) == ("Several", "Several: none of them")


def test_a_long_traceback_ends_where_it_was_raised() -> None:
    def deep(left: int) -> None:
        if not left:
            raise LookupError("down here")
        deep(left - 1)

    limit = sys.getrecursionlimit()
    sys.setrecursionlimit(20_000)
    try:
        deep(10_000)
    except LookupError as error:
        for each in described(error):
            assert (each.traceback or "").endswith("LookupError: down here\n")
    finally:
        sys.setrecursionlimit(limit)


def test_a_huge_text_is_cut() -> None:
    found, _ = described(ValueError("x" * 100_000_000))
    assert found.message.startswith("ValueError: xxx")


def test_of_many_mismatches_the_number_is_told() -> None:
    with pytest.raises(ValidationError) as raised:
        TypeAdapter(list[int]).validate_python(["x"] * 100_000)
    found, _ = described(raised.value)
    assert found.message == "list[int]: 100,000 errors, too many to list"


def test_what_can_be_written_nowhere_else_can_be_logged() -> None:
    from logging import ERROR, LogRecord

    from segue.streams.calls.failures import Redacting

    error = chained(100_000)
    record = LogRecord("x", ERROR, __file__, 1, "it failed", None, (type(error), error, None))
    assert Redacting().format(record).endswith("ValueError: number 99999")


def rooms() -> str:
    try:
        return {"Faro": "sea"}["Porto"]
    except KeyError as missing:
        missing.add_note("a note")
        raise ValueError("no room") from missing


def test_it_is_written_as_python_writes_it() -> None:
    with pytest.raises(ValueError, match="no room") as raised:
        rooms()
    written = "".join(traceback.format_exception(raised.value)).splitlines()
    without_marks = [line for line in written if "^" not in line]
    ours = [line for line in without_marks if "in test_it_is_written" in line or line == "    rooms()"]
    told = (problem_of(raised.value).traceback or "").splitlines()
    assert told == without_marks
    assert len(ours) == 2


def test_the_log_shows_the_frames_of_segue_too() -> None:
    from logging import ERROR, LogRecord

    from segue.streams.calls.failures import Redacting
    from segue.topics.codec import decode
    from segue.topics.errors import BadRecord

    with pytest.raises(BadRecord) as raised:
        decode("tasks", b"{")
    record = LogRecord("x", ERROR, __file__, 1, "it failed", None, (BadRecord, raised.value, None))
    assert "in decode" in Redacting().format(record)
    assert "in decode" not in traceback_of(raised.value, 8_000)
