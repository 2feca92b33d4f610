"""Generates the reference pages of the site from the code, so that they can't drift from it."""

from collections.abc import Callable, Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import click
import griffe
from mkdocs.exceptions import PluginError
from prometheus_client import Metric
from pydantic_core import PydanticUndefined

import segue
from segue.streams.cli import COMMANDS, main
from segue.streams.observability.metric_definitions import MetricDefinitions
from segue.streams.observability.metric_series import Series
from segue.streams.settings import ENV_PREFIX, Settings
from segue.topics import contracts

ROOT = Path(__file__).parents[2]

WIDTH = 100

PUBLIC = segue._NAMES  # pyright: ignore[reportPrivateUsage]
"""The public names, by the module in which each is defined."""


def generate(kind: str, names: list[str]) -> str:
    """Return the Markdown of a reference, or of a part of it."""
    if kind not in KINDS:
        raise PluginError(f"no reference {kind!r}: there are {', '.join(KINDS)}")
    return "\n".join(KINDS[kind](names))


def _api(packages: list[str]) -> Iterator[str]:
    """Yield the public names that are defined in these packages."""
    for module, names in PUBLIC.items():
        for name in names.split() if _is_in(module, packages) else ():
            yield f"::: segue.{module}.{name}\n"


def undocumented(packages: list[str]) -> list[str]:
    """Return the public names that are defined in none of these packages."""
    modules = [module for module in PUBLIC if not _is_in(module, packages)]
    return [name for module in modules for name in PUBLIC[module].split()]


def _is_in(module: str, packages: list[str]) -> bool:
    return any(module == package or module.startswith(f"{package}.") for package in packages)


def _module(names: list[str]) -> Iterator[str]:
    """Yield the public names of a module, each from where it is defined."""
    for module in map(import_module, names):
        for name in module.__all__:
            yield f"::: {getattr(module, name).__module__}.{name}\n"


def _commands(_: list[str]) -> Iterator[str]:
    context = click.Context(main, info_name="segue", max_content_width=WIDTH, terminal_width=WIDTH)
    for name in COMMANDS:
        command = main.get_command(context, name)
        assert command is not None
        yield from _command(command, name, context, "##")


def _command(command: click.Command, name: str, parent: click.Context, level: str) -> Iterator[str]:
    context = click.Context(
        command, info_name=name, parent=parent, max_content_width=WIDTH, terminal_width=WIDTH
    )
    yield f"{level} {context.command_path}\n\n```text\n{command.get_help(context)}\n```\n"
    if isinstance(command, click.Group):
        for each in command.list_commands(context):
            found = command.get_command(context, each)
            assert found is not None
            yield from _command(found, each, context, f"{level}#")


def _settings(_: list[str]) -> Iterator[str]:
    described = griffe.load("segue.streams.settings", docstring_parser=None)["Settings"]
    for name, field in Settings.model_fields.items():
        attribute = described.members[name]
        yield f"## {ENV_PREFIX}{name.upper()}\n"
        yield attribute.docstring.value if attribute.docstring else ""
        default = "" if field.default is PydanticUndefined else f", by default `{_default(field.default)}`"
        yield f"\nType: `{attribute.annotation}`{default}.\n"


def _default(value: object) -> str:
    return "unset" if value is None else str(value)


def _metrics(_: list[str]) -> Iterator[str]:
    yield "| metric | type | labels | |\n|---|---|---|---|"
    found: list[Series[Any]] = [
        each for each in vars(MetricDefinitions(None)).values() if isinstance(each, Series)
    ]
    rows: list[tuple[Metric, tuple[str, ...]]] = [
        (metric, series.labels) for series in found for metric in series.metric.describe()
    ]
    for metric, labels in sorted(rows, key=_name):
        name = metric.name + ("_total" if metric.type == "counter" else "")
        yield f"| `{name}` | {metric.type} | {', '.join(labels)} | {metric.documentation} |"


def _name(row: tuple[Metric, tuple[str, ...]]) -> str:
    return row[0].name


def _topics(_: list[str]) -> Iterator[str]:
    yield "| topic | holds | written by | read by | kept |\n|---|---|---|---|---|"
    for topic in contracts.ALL:
        kept = "compacted" if topic.cleanup == "compact" else f"{topic.retention_ms // contracts.DAY_MS} days"
        written, read = ", ".join(topic.written_by), ", ".join(topic.read_by)
        yield f"| `{topic.name}` | {topic.holds} | {written} | {read} | {kept} |"


def _readme(words: list[str]) -> Iterator[str]:
    """Yield the section of README that has this heading."""
    text = (ROOT / "README.md").read_text()
    _, found, rest = text.partition(f"## {' '.join(words)}\n")
    if not found:
        raise PluginError(f"README has no section {' '.join(words)!r}")
    yield found + rest.partition("\n## ")[0]


KINDS: dict[str, Callable[[list[str]], Iterator[str]]] = {
    "readme": _readme,
    "api": _api,
    "module": _module,
    "commands": _commands,
    "settings": _settings,
    "metrics": _metrics,
    "topics": _topics,
}
