"""An installation has one name, `segue`, and a project may have folders named as Segue's own packages are."""

import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

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


def _environment(folder: Path, wheel: Path) -> Path:
    """Its Python. As in the Makefile: uv is fast, and pip knows the way where uv does not."""
    subprocess.run([sys.executable, "-m", "venv", folder], check=True)
    python = folder / "bin" / "python"
    uv = str(Path(sys.executable).with_name("uv"))
    for arguments in (["--require-hashes", "--requirement", "locks/run.txt"], ["--no-deps", str(wheel)]):
        fast = [uv, "pip", "install", "--quiet", "--python", str(python), *arguments]
        if subprocess.run(fast, cwd=ROOT, capture_output=True, check=False).returncode:
            subprocess.run([python, "-m", "pip", "install", "--quiet", *arguments], cwd=ROOT, check=True)
    return python
