"""A release of aiokafka that moves a part which Segue needs fails here: the part and the module are named.

Nothing of `segue.streams.kafka` is imported: it could not be, where an import of aiokafka's has moved.
"""

import ast
import dis
import inspect
import sys
import tomllib
from collections.abc import Iterator
from importlib import import_module
from importlib.metadata import version
from pathlib import Path
from types import CodeType, ModuleType
from typing import Any, Literal, NamedTuple

import pytest

from segue.streams.observability.log_throttle import LOGGERS

ROOT = Path(__file__).parents[2]
OURS = ("topics", "processors", "streams")
OF_NAMED_TUPLES = {"_asdict", "_replace"}

INTERNALS = "segue.streams.kafka.aiokafka_internals"
GROUP = f"{INTERNALS} (for consumer_group)"
HEADERS = f"{INTERNALS} (for consumer_group and reader)"
CLIENTS = f"{INTERNALS} (for consumer_group, reader and state.restore)"
PRODUCER = "segue.streams.kafka.producer"

CONSUMER_CLASS = "aiokafka.consumer.consumer:AIOKafkaConsumer"
COORDINATOR_CLASS = "aiokafka.consumer.group_coordinator:GroupCoordinator"
CLIENT_CLASS = "aiokafka.client:AIOKafkaClient"
FETCHER = "aiokafka.consumer.fetcher:"
RECORDS_CLASS = "aiokafka.record.memory_records:MemoryRecords"
BATCH_CLASS = "aiokafka.record.default_records:_DefaultRecordBatchPy"
BUILDER_CLASS = "aiokafka.record.default_records:DefaultRecordBatchBuilder"


class Part(NamedTuple):
    """A part of aiokafka; `kind`: what methods set, a member, or a name that aiokafka's own code uses.

    A method that Segue replaces must still be called: a replacement that nobody calls would go unnoticed.
    """

    owner: str
    name: str
    kind: Literal["set", "member", "used"]
    needed_by: str
    parameters: tuple[str, ...] | None = None


PRIVATE = [
    Part(CONSUMER_CLASS, "_client", "set", CLIENTS),
    Part(CONSUMER_CLASS, "_coordinator", "set", GROUP),
    Part(COORDINATOR_CLASS, "_do_heartbeat", "used", GROUP, ("self",)),
    Part(COORDINATOR_CLASS, "_do_rejoin_group", "used", GROUP, ("self", "subscription")),
    Part(COORDINATOR_CLASS, "_maybe_leave_group", "used", GROUP, ("self",)),
    Part(BATCH_CLASS, "_maybe_uncompress", "member", HEADERS, ("self",)),
    Part(BATCH_CLASS, "_buffer", "set", HEADERS),
]
UNDOCUMENTED = [
    *(Part(COORDINATOR_CLASS, name, "set", GROUP) for name in ("member_id", "generation", "coordinator_id")),
    Part(COORDINATOR_CLASS, "reset_generation", "member", GROUP, ("self",)),
    Part(COORDINATOR_CLASS, "ensure_coordinator_known", "member", GROUP, ("self",)),
    Part(FETCHER, "MemoryRecords", "used", HEADERS),
    *(Part(RECORDS_CLASS, name, "member", HEADERS) for name in ("next_batch", "has_next", "size_in_bytes")),
    *(
        Part(CLIENT_CLASS, name, "member", PRODUCER)
        for name in (
            "bootstrap",
            "close",
            "set_topics",
            "force_metadata_update",
            "coordinator_lookup",
        )
    ),
    Part(CLIENT_CLASS, "cluster", "set", PRODUCER),
    Part(CLIENT_CLASS, "send", "member", f"{PRODUCER}, consumer_group and topic_ids"),
    Part(CLIENT_CLASS, "get_random_node", "member", f"{PRODUCER} and topic_ids"),
    Part(CLIENT_CLASS, "fetch_all_metadata", "member", "segue.streams.kafka.reader"),
    *(
        Part(BUILDER_CLASS, name, "member", "segue.streams.kafka.record_batches")
        for name in ("append", "build")
    ),
]


# ---------------------------------------------------------------- what has moved


def moved(part: Part) -> str | None:
    """None if the part is where Segue looks for it."""
    module, _, name = part.owner.partition(":")
    try:
        owner = getattr(import_module(module), name) if name else import_module(module)
    except (ImportError, AttributeError) as error:
        return _says(part, f"is gone ({error})")
    if part.kind == "set":
        return None if part.name in _names(owner, "STORE_ATTR") else _says(part, "is set by no method")
    found = getattr(owner, part.name, None)
    if found is None:
        return _says(part, "is gone")
    if part.kind == "used" and part.name not in _names(owner, "LOAD_ATTR", "LOAD_METHOD", "LOAD_GLOBAL"):
        return _says(part, "is used by no code of aiokafka's")
    if (
        part.parameters is not None
        and (takes := tuple(inspect.signature(found).parameters)) != part.parameters
    ):
        return _says(part, f"takes {takes} instead of {part.parameters}")
    return None


def _says(part: Part, what: str) -> str:
    owner = part.owner.strip(":").replace(":", ".")
    return f"aiokafka {version('aiokafka')}: {owner}.{part.name} {what}; {part.needed_by} needs it"


def _names(owner: Any, *operations: str) -> set[str]:
    """The names in instructions of these kinds, of all functions of a class and its bases, or of a module."""
    holders = [owner, *_classes(owner)] if isinstance(owner, ModuleType) else inspect.getmro(owner)
    functions = (each for holder in holders for each in vars(holder).values() if inspect.isfunction(each))
    codes = (code for function in functions for code in _codes(function.__code__))
    return {
        str(step.argval) for code in codes for step in dis.get_instructions(code) if step.opname in operations
    }


def _classes(module: ModuleType) -> list[type]:
    return [
        each for each in vars(module).values() if inspect.isclass(each) and each.__module__ == module.__name__
    ]


def _codes(code: CodeType) -> Iterator[CodeType]:
    yield code
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _codes(constant)


# ---------------------------------------------------------------- what Segue's modules say


def _modules() -> Iterator[tuple[str, ast.Module]]:
    for path in (path for package in OURS for path in (ROOT / package).rglob("*.py")):
        name = ".".join(("segue", *path.relative_to(ROOT).with_suffix("").parts))
        yield name, ast.parse(path.read_text())


def _imports(tree: ast.Module) -> Iterator[tuple[str, str]]:
    """Module and name of what is imported from aiokafka."""
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and (node.module or "").partition(".")[0] == "aiokafka":
            yield from ((str(node.module), alias.name) for alias in node.names)


def _private_names(tree: ast.Module) -> set[str]:
    """Private attributes of objects other than `self` and `cls`, and private names of aiokafka's modules."""
    attributes = {
        node.attr
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute)
        and not (isinstance(node.value, ast.Name) and node.value.id in {"self", "cls"})
    }
    strings = {
        node.value
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    }
    names = (
        attributes | {name for _, name in _imports(tree)} | {each for each in strings if each.isidentifier()}
    )
    return {name for name in names if name.startswith("_") and not name.endswith("__")} - OF_NAMED_TUPLES


# ---------------------------------------------------------------- tests


def test_aiokafka_is_pinned_exactly() -> None:
    wanted = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"]
    pins = [each for each in wanted if each.startswith("aiokafka")]
    assert pins == [f"aiokafka=={version('aiokafka')}"], "pin the version that these tests were run with"


@pytest.mark.parametrize("part", [*PRIVATE, *UNDOCUMENTED], ids=lambda part: part.name)
def test_each_part_of_aiokafka_that_segue_needs_is_where_it_looks(part: Part) -> None:
    found = moved(part)
    assert found is None, found


def test_each_name_that_segue_imports_from_aiokafka_is_there() -> None:
    gone = [
        f"aiokafka {version('aiokafka')}: {module}.{name} is gone{reason}; {ours} imports it"
        for ours, tree in _modules()
        for module, name in _imports(tree)
        if (reason := _reason_why_gone(module, name)) is not None
    ]
    assert not gone, "\n".join(gone)


def _reason_why_gone(module: str, name: str) -> str | None:
    try:
        return None if hasattr(import_module(module), name) else ""
    except ImportError as error:
        return f" ({error})"


def test_each_logger_of_aiokafka_that_segue_quiets_is_there() -> None:
    gone = [name for name in LOGGERS if getattr(import_module(name), "log", None) is None and "." in name]
    assert not gone, f"aiokafka has no logger {gone}; segue.streams.observability.log_throttle filters it"


def test_private_names_of_aiokafka_stand_in_one_module_and_each_is_checked_here() -> None:
    users = {ours: _private_names(tree) for ours, tree in _modules() if any(_imports(tree))}
    assert {ours: names for ours, names in users.items() if names and ours != INTERNALS} == {}
    checked = {part.name for part in PRIVATE} | {part.owner.partition(":")[2] for part in PRIVATE}
    assert users[INTERNALS] <= checked


# ---------------------------------------------------------------- a release that moves something


def test_a_method_that_is_gone_is_named_with_the_module_that_needs_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from aiokafka.consumer.group_coordinator import GroupCoordinator

    monkeypatch.delattr(GroupCoordinator, "_maybe_leave_group")
    assert [each for each in map(moved, PRIVATE) if each] == [
        f"aiokafka {version('aiokafka')}: aiokafka.consumer.group_coordinator.GroupCoordinator"
        f"._maybe_leave_group is gone; {GROUP} needs it"
    ]


def test_a_method_that_nobody_calls_any_more_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    from aiokafka.consumer.group_coordinator import GroupCoordinator

    monkeypatch.setattr(GroupCoordinator, "_heartbeat_routine", _does_nothing)
    [found] = [each for each in map(moved, PRIVATE) if each]
    assert "GroupCoordinator._do_heartbeat is used by no code of aiokafka's" in found


async def _does_nothing(_: object) -> None: ...


def test_an_attribute_that_no_method_sets_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    import aiokafka.consumer.consumer

    monkeypatch.setattr(aiokafka.consumer.consumer, "AIOKafkaConsumer", type("Other", (), {}))
    found = [each for each in map(moved, PRIVATE) if each]
    assert [each.partition("; ")[0].partition("AIOKafkaConsumer.")[2] for each in found] == [
        "_client is set by no method",
        "_coordinator is set by no method",
    ]


def test_a_module_that_is_gone_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "aiokafka.client", None)
    reason = "(import of aiokafka.client halted; None in sys.modules)"
    assert moved(Part(CLIENT_CLASS, "send", "member", PRODUCER)) == (
        f"aiokafka {version('aiokafka')}: aiokafka.client.AIOKafkaClient.send is gone {reason}; "
        f"{PRODUCER} needs it"
    )
    assert _reason_why_gone("aiokafka.client", "ConnectionGroup") == f" {reason}"
