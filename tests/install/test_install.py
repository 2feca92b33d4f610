"""An installation has one name, `segue`, and a project may have folders named as Segue's own packages are.

`pip install segue` installs the core alone: programs start tasks with it, and each part that needs more says
which extra has it.
"""

import asyncio
import os
import re
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

from segue import App, Task, workflow
from segue.streams.cli import COMMANDS
from segue.streams.engine.worker import Worker
from segue.streams.local.broker import ensure_broker, stop_broker
from segue.streams.settings import Settings
from tests.kafka.conftest import free_port

ROOT = Path(__file__).parents[2]

OURS = ("topics", "processors", "streams")

HELLO = """\
import processors
import streams
import topics
from segue import App, Task, tool, workflow
from segue.testing import Rehearsal


@tool
async def greet(name: str) -> str:
    return f"hello {name} from {streams.WHOSE}, {topics.WHOSE} and {processors.WHOSE}"


@workflow
async def hello(task: Task, name: str) -> str:
    return await task.tool(greet, name)


with Rehearsal(App("hello", workflows=[hello], tools=[greet])) as play:
    play.start(hello, "Ada")
    play.run()
    print(play.result())
"""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return _built("wheel", ROOT, tmp_path_factory.mktemp("wheel"))


def _built(target: str, source: Path, folder: Path) -> Path:
    command = [sys.executable, "-m", "hatchling", "build", "--target", target, "--directory", str(folder)]
    subprocess.run(command, cwd=source, check=True, capture_output=True, text=True)
    [built] = [*folder.glob("*.whl"), *folder.glob("*.tar.gz")]
    return built


def test_a_wheel_holds_one_package(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    assert {name.partition("/")[0].partition("-")[0] for name in names} == {"segue"}
    for package in OURS:
        sources = (ROOT / package).rglob("*.py")
        assert {f"segue/{source.relative_to(ROOT)}" for source in sources} <= set(names)


def test_a_wheel_of_the_source_distribution_is_the_same(wheel: Path, tmp_path: Path) -> None:
    with tarfile.open(_built("sdist", ROOT, tmp_path / "sdist")) as packed:
        packed.extractall(tmp_path / "unpacked", filter="data")
    [source] = (tmp_path / "unpacked").iterdir()
    again = _built("wheel", source, tmp_path / "again")
    assert zipfile.ZipFile(again).namelist() == zipfile.ZipFile(wheel).namelist()


def test_an_installation_runs_beside_folders_of_its_packages_names(wheel: Path, tmp_path: Path) -> None:
    python = _environment(tmp_path / "environment", wheel)
    project = tmp_path / "project"
    for package in OURS:
        (project / package).mkdir(parents=True)
        (project / package / "__init__.py").write_text(f'WHOSE = "the project\'s {package}"\n')
    (project / "hello.py").write_text(HELLO)
    ran = subprocess.run([python, "hello.py"], cwd=project, capture_output=True, text=True, check=False)
    said = "hello Ada from the project's streams, the project's topics and the project's processors\n"
    assert (ran.stdout, ran.stderr) == (said, "")
    shown = subprocess.run(
        [python.with_name("segue"), "--help"], cwd=project, capture_output=True, text=True, check=True
    )
    assert "dead-letters" in shown.stdout


# ---------------------------------------------------------------- the core alone

START = """\
import asyncio
from segue import Client


async def main() -> None:
    async with Client() as client:
        print(await client.run("greet", "Ada", id="greeting-1"))


asyncio.run(main())
"""

DECLARED = """\
import segue
from segue import App, McpServer, ModelRoute, OpenApi, Task, ToolRoute, tool, workflow

for name in segue.__all__:
    getattr(segue, name)
hotels, rooms = McpServer("hotels", ("hotels",)), OpenApi("rooms.json")
search = ToolRoute("search", [hotels.tool("search"), rooms.tool("search")])
rank = ModelRoute("rank", ["anthropic:claude-sonnet-4-5"])


@tool
async def book(hotel: str) -> str: ...


@workflow
async def trip(task: Task, place: str) -> str:
    return await task.tool(book, await task.model(rank, await task.tool(search, place=place), output=str))


print(App("trips", workflows=[trip], routes=[search, rank], tools=[book]).name)
"""

NEEDING = {"broker": "local", "dev": "local", "replay": "worker", "worker": "worker"}
"""Commands, and the extra without which each of them has not even a help."""

PARTS = {
    "from segue.agents import Durable": "agents",
    "import segue.testing": "worker",
    "from segue.streams.engine.worker import Worker": "worker",
    "from segue.streams.local.development import development": "local",
    "from segue.streams.executors.mcp.client import Connection": "mcp",
    "from segue.streams.executors.openapi.client import Service": "openapi",
    "from segue.streams.executors import model; model._model_client('openai:gpt-5', 'gpt', None)": "openai",
    "from segue.streams.settings import Settings; from segue.streams.object_store.store import Objects; "
    "Objects(Settings(object_store_url='s3://bucket'))._store()": "s3",
}


@workflow
async def greet(task: Task, name: str) -> str:
    return f"hello {name}"


@pytest.fixture(scope="module")
def core(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The Python of an environment with the core alone."""
    folder = tmp_path_factory.mktemp("core")
    pins = re.sub(r" *\\\n( +--hash=\S+( \\\n)?)+", "", (ROOT / "locks" / "run.txt").read_text())
    (folder / "pins.txt").write_text(pins)
    return _made(folder / "environment", ["--constraint", str(folder / "pins.txt"), str(wheel)])


def _shown(core: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("SEGUE_")}
    command = [str(core.with_name("segue")), *arguments]
    return subprocess.run(
        command, cwd=core.parent, env=environment, capture_output=True, text=True, check=False
    )


async def test_a_program_with_the_core_alone_starts_a_task(core: Path, tmp_path: Path) -> None:
    settings = Settings(state_dir=tmp_path, local_broker_port=free_port(), metrics_port=0, ui_port=0)
    await ensure_broker(settings)
    try:
        worker = Worker(App("greetings", workflows=[greet]), settings)
        await worker.start()
        try:
            environment = {**os.environ, "SEGUE_KAFKA": settings.bootstrap}
            program = await asyncio.create_subprocess_exec(
                core, "-c", START, env=environment, stdout=asyncio.subprocess.PIPE, cwd=tmp_path
            )
            told, _ = await asyncio.wait_for(program.communicate(), 120)
        finally:
            await worker.stop()
    finally:
        await stop_broker(settings)
    assert told == b"hello Ada\n"


def test_the_core_alone_imports_what_declares_workflows(core: Path, tmp_path: Path) -> None:
    (tmp_path / "trips.py").write_text(DECLARED)
    ran = subprocess.run([core, "trips.py"], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (ran.stdout, ran.stderr) == ("trips\n", "")


@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_runs_with_the_core_alone_or_names_its_extra(core: Path, command: str) -> None:
    shown = _shown(core, command, "--help")
    if command not in NEEDING:
        assert (shown.returncode, shown.stderr) == (0, "")
        return
    assert (shown.returncode, shown.stdout) == (2, "")
    [line] = shown.stderr.splitlines()
    assert line.endswith(f'pip install "segue[{NEEDING[command]}]"')


@pytest.mark.parametrize(("arguments", "extra"), [(["ui"], "ui"), (["mcp", "trips"], "mcp")])
def test_a_command_that_serves_names_its_extra_when_it_runs(
    core: Path, arguments: list[str], extra: str
) -> None:
    ran = _shown(core, *arguments)
    [line] = ran.stderr.splitlines()
    assert (ran.returncode, line.endswith(f'pip install "segue[{extra}]"')) == (2, True)


@pytest.mark.parametrize(("code", "extra"), PARTS.items())
def test_a_part_that_the_core_has_not_names_its_extra(core: Path, code: str, extra: str) -> None:
    ran = subprocess.run([core, "-c", code], capture_output=True, text=True, check=False)
    last = ran.stderr.splitlines()[-1]
    assert last.startswith("segue.topics.errors.MissingExtra: ")
    assert last.endswith(f'pip install "segue[{extra}]"')


# ---------------------------------------------------------------- environments


def _environment(folder: Path, wheel: Path) -> Path:
    return _made(folder, ["--require-hashes", "--requirement", "locks/run.txt"], ["--no-deps", str(wheel)])


def _made(folder: Path, *installations: list[str]) -> Path:
    """Its Python. As in the Makefile: uv is fast, and pip knows the way where uv does not."""
    subprocess.run([sys.executable, "-m", "venv", folder], check=True)
    python = folder / "bin" / "python"
    uv = str(Path(sys.executable).with_name("uv"))
    for arguments in installations:
        fast = [uv, "pip", "install", "--quiet", "--python", str(python), *arguments]
        if subprocess.run(fast, cwd=ROOT, capture_output=True, check=False).returncode:
            subprocess.run([python, "-m", "pip", "install", "--quiet", *arguments], cwd=ROOT, check=True)
    return python
