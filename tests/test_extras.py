"""What the core and each extra install, and that code imports no more than its extra has."""

import ast
import os
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterable, Iterator
from importlib.machinery import ModuleSpec
from importlib.metadata import PackageNotFoundError, packages_distributions, requires
from importlib.util import find_spec
from pathlib import Path

import pytest

from segue import App, McpServer, ModelRoute, OpenApi, Task, ToolRoute, workflow
from segue.streams.engine.stages import STAGES, extras_of
from segue.streams.engine.worker import Worker
from segue.streams.settings import Settings
from segue.topics import contracts, extras
from segue.topics.errors import MissingExtra, SegueError
from segue.topics.extras import MODULES, extra_of_model, require

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]

BEHIND = {
    "processors/agents": {"agents"},
    "processors/stages/intake.py": {"worker"},  # a CloudEvent, where requests are taken in
    "streams/calls/circuit_breakers.py": {"worker"},
    "streams/calls/pricing.py": {"agents"},
    "streams/engine": {"worker"},
    "streams/executors/agent.py": {"agents"},
    "streams/executors/mcp": {"mcp"},
    "streams/executors/mcp/agents.py": {"agents", "mcp"},
    "streams/executors/openapi": {"openapi"},
    "streams/executors/provider.py": {"agents"},
    "streams/executors/streamed.py": {"agents"},
    "streams/kafka/best_effort_producer.py": {"worker"},
    "streams/local": {"local"},
    "streams/mcp_server": {"mcp"},
    "streams/object_store/expiry.py": {"worker"},
    "streams/observability/metric_definitions.py": {"worker"},
    "streams/observability/metric_series.py": {"worker"},
    "streams/observability/metrics_server.py": {"worker"},
    "streams/observability/watchdog.py": {"worker"},
    "streams/process/http_server.py": {"worker"},  # `ui` and `mcp` have what it imports too
    "streams/state/store.py": {"worker"},
    "streams/testing": {"worker"},
    "streams/testing/fake_agents.py": {"agents", "worker"},
    "streams/testing/fake_executors.py": {"agents", "worker"},
    "streams/testing/fake_models.py": {"agents", "worker"},
    "streams/ui": {"ui"},
}
"""The folders and modules whose code is reached only where these extras are required."""


# ---------------------------------------------------------------- what is installed, and what is imported


def _packages(requirements: list[str]) -> set[str]:
    """The packages of these requirements and all that they install, by their normal names."""
    found: set[str] = set()
    pending = [(_name(each), frozenset(_extras(each))) for each in requirements]
    seen: set[tuple[str, frozenset[str]]] = set()
    while pending:
        name, wanted = each = pending.pop()
        if each in seen:
            continue
        seen.add(each)
        found.add(name)
        for line in _requires(name):
            needed, _, marker = line.partition(";")
            if "extra ==" not in marker or any(f"'{e}'" in marker or f'"{e}"' in marker for e in wanted):
                pending.append((_name(needed), frozenset(_extras(needed))))
    return found


def _requires(name: str) -> list[str]:
    if name == "segue":
        return [f"{line}; extra == '{extra}'" for extra, lines in _EXTRAS.items() for line in lines]
    try:
        return requires(name) or []
    except PackageNotFoundError:  # for another system, or of an extra that the lock has not
        return []


_EXTRAS: dict[str, list[str]] = PROJECT["optional-dependencies"]


def _name(requirement: str) -> str:
    return re.sub(r"[-_.]+", "-", re.split(r"[\s\[<>=~!;(]", requirement.strip())[0]).lower()


def _extras(requirement: str) -> list[str]:
    found = re.match(r"[^\[;]*\[([^\]]*)\]", requirement)
    return [extra.strip() for extra in found[1].split(",")] if found else []


def _of_extras(names: set[str]) -> set[str]:
    return _packages([*PROJECT["dependencies"], *(line for name in names for line in _EXTRAS[name])])


def _distributions() -> dict[str, set[str]]:
    return {module: {_name(each) for each in found} for module, found in packages_distributions().items()}


def _imported(source: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(source.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            yield str(node.module).partition(".")[0]


def _sources() -> Iterator[Path]:
    for folder in ("topics", "processors", "streams"):
        yield from (ROOT / folder).rglob("*.py")
    yield from (ROOT / "segue").glob("*.py")


def _behind(source: Path) -> set[str]:
    place = str(source.relative_to(ROOT))
    fitting = [each for each in BEHIND if place == each or place.startswith(f"{each}/")]
    return BEHIND[max(fitting, key=len)] if fitting else set()


# ---------------------------------------------------------------- the table agrees with pyproject.toml


def test_each_extra_of_the_table_is_one_of_the_project() -> None:
    assert {*MODULES, "all"} == set(_EXTRAS)


def test_all_has_each_extra() -> None:
    named = {extra for line in _EXTRAS["all"] for extra in _extras(line)}
    assert named == set(_EXTRAS) - {"all"}


@pytest.mark.parametrize("extra", MODULES)
def test_the_modules_of_an_extra_are_of_packages_that_it_installs(extra: str) -> None:
    installed, known = _of_extras({extra}), _distributions()
    here = [module for module in MODULES[extra] if module in known]
    assert [module for module in here if not known[module] & installed] == []


def test_each_import_of_a_package_is_of_the_core_or_of_the_extra_that_its_place_needs() -> None:
    known = _distributions()
    wrong = [
        f"{source.relative_to(ROOT)} imports {module}, which {sorted(_behind(source)) or 'the core'} has not"
        for source in _sources()
        for module in _imported(source)
        if module not in sys.stdlib_module_names
        and module != "segue"
        and not known.get(module, set()) & _of_extras(_behind(source))
    ]
    assert not wrong, "\n".join(wrong)


def test_each_package_behind_an_extra_is_in_the_table_that_errors_are_told_by() -> None:
    core, known = _of_extras(set()), _distributions()
    for source in _sources():
        for module in set(_imported(source)) - set(sys.stdlib_module_names) - {"segue"}:
            if not known[module] & core and module not in {"markupsafe", "requests", "referencing"}:
                assert any(module in MODULES[extra] for extra in _behind(source)), (source, module)


def test_the_stages_that_commands_know_are_those_of_a_worker() -> None:
    assert tuple(STAGES) == contracts.STAGES


# ---------------------------------------------------------------- an extra suffices for what is behind it

ALONE = """\
import sys
for name in sys.argv[1].split(","):
    sys.modules[name] = None
"""
"""Hides the modules of other extras, as if they were not installed."""

IMPORTS = """\
from importlib import import_module
for name in sys.argv[2].split(","):
    import_module(name)
"""

COMMAND = """\
from segue.streams.cli import main
main(sys.argv[2].split(","))
"""

GREETINGS = """\
from segue import App, Task, tool, workflow


@tool
async def greet(name: str) -> str:
    return f"hello {name}"


@workflow
async def greeting(task: Task, name: str) -> str:
    return await task.tool(greet, name)


app = App("greetings", workflows=[greeting], tools=[greet])
"""

REHEARSAL = """\
sys.path.append(sys.argv[2])
from greetings import app, greeting
from segue.testing import Rehearsal
with Rehearsal(app) as play:
    play.start(greeting, "Ada")
    play.run()
    print(play.result())
"""


def _run_with(wanted: Iterable[str], code: str, argument: str, **environment: str) -> tuple[int, str, str]:
    """Exit code, stdout and stderr of the code, where of all extras these alone are installed."""
    known, installed = _distributions(), _of_extras(set(wanted))
    of_extras = {module for modules in MODULES.values() for module in modules}
    hidden = {module for module in of_extras if not known.get(module, set()) & installed}
    ran = subprocess.run(
        [sys.executable, "-c", ALONE + code, ",".join(sorted(hidden)), argument],
        env={**os.environ, **environment},
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    return ran.returncode, ran.stdout, ran.stderr


def _modules_behind(wanted: set[str]) -> list[str]:
    sources = (source for source in _sources() if _behind(source) == wanted)
    parts = (source.relative_to(ROOT).with_suffix("").parts for source in sources)
    return [".".join(("segue", *(part for part in each if part != "__init__"))) for each in parts]


@pytest.mark.parametrize(
    "wanted", [set(each) for each in sorted({tuple(sorted(e)) for e in BEHIND.values()})]
)
def test_all_modules_behind_an_extra_import_with_that_extra_alone(wanted: set[str]) -> None:
    assert _run_with(wanted, IMPORTS, ",".join(_modules_behind(wanted))) == (0, "", "")


@pytest.mark.parametrize(
    ("extra", "command"),
    [("worker", "worker,{app}"), ("mcp", "mcp,{app}"), ("ui", "ui"), ("local", "dev,{app},Ada")],
)
def test_a_command_needs_no_other_extra_where_the_cluster_is_elsewhere(
    extra: str, command: str, tmp_path: Path
) -> None:
    (tmp_path / "greetings.py").write_text(GREETINGS)
    code, _, told = _run_with(
        [extra],
        COMMAND,
        command.format(app=tmp_path / "greetings.py"),
        SEGUE_KAFKA="127.0.0.1:1",
        SEGUE_STATE_DIR=str(tmp_path / "state"),
    )
    assert code == 4, told
    assert "127.0.0.1:1" in told


def test_a_rehearsal_of_tools_needs_the_worker_alone(tmp_path: Path) -> None:
    (tmp_path / "greetings.py").write_text(GREETINGS)
    assert _run_with(["worker"], REHEARSAL, str(tmp_path)) == (0, "hello Ada\n", "")


# ---------------------------------------------------------------- what is said


def _without(monkeypatch: pytest.MonkeyPatch, *modules: str) -> None:
    def found(name: str) -> ModuleSpec | None:
        return None if name in modules else find_spec(name)

    monkeypatch.setattr(extras, "find_spec", found)


def test_all_that_is_missing_is_named_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    _without(monkeypatch, "rocksdict", "mode", "mcp")
    with pytest.raises(MissingExtra) as raised:
        require("mcp", "worker")
    assert str(raised.value) == (
        "this needs a part of Segue that is not installed (no module mcp, rocksdict): "
        'pip install "segue[mcp,worker]"'
    )
    assert isinstance(raised.value, ImportError)
    assert isinstance(raised.value, SegueError)


def test_what_is_there_is_not_missing() -> None:
    require("worker", "local", "agents", "mcp", "openapi", "ui", "anthropic", "openai")


@pytest.mark.parametrize(
    ("model", "extra"),
    [
        ("anthropic:claude-sonnet-4-5", "anthropic"),
        ("google-gla:gemini-2.5-pro", "google"),
        ("gateway/bedrock:nova", "bedrock"),
        ("openai-responses:gpt-5", "openai"),
        ("ollama:qwen3", "openai"),
        ("test", "agents"),
    ],
)
def test_a_model_needs_the_extra_of_its_provider(model: str, extra: str) -> None:
    assert extra_of_model(model) == extra


# ---------------------------------------------------------------- a worker refuses what it could not serve


@workflow
async def rank(task: Task, place: str) -> str:
    return await task.model("rank", place, output=str)


APP = App(
    "shop",
    workflows=[rank],
    routes=[
        ModelRoute("rank", ["anthropic:claude-sonnet-4-5", "ollama:qwen3"]),
        ToolRoute("offers", [McpServer("hotels", ("python", "-m", "hotels")).tool("search")]),
        ToolRoute("rooms", [OpenApi("https://hotels.example/openapi.json").tool("getRoom")]),
    ],
)


def test_a_worker_needs_the_extras_of_the_candidates_that_its_stages_call() -> None:
    assert extras_of(APP, ("model", "tool")) == {"anthropic", "mcp", "openai", "openapi"}
    assert extras_of(APP, ("tool",)) == {"mcp", "openapi"}
    assert extras_of(APP, ("conduct",)) == set()


def test_a_worker_without_them_does_not_start(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    _without(monkeypatch, "openapi_schema_validator", "anthropic")
    settings = Settings(state_dir=tmp_path)
    with pytest.raises(MissingExtra, match=r'pip install "segue\[anthropic,openapi\]"'):
        Worker(APP, settings)
    with pytest.raises(MissingExtra, match=r'pip install "segue\[s3\]"'):
        Worker(APP, settings.model_copy(update={"object_store_url": "s3://bucket/segue"}), ["conduct"])
