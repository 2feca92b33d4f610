"""How an app is found, and what is said when it is not."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from segue.streams.cli.apps import find_app
from segue.topics.errors import BadInput, UnknownName

APP = "from segue import App\napp = App({name!r}, workflows=[])\n"


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A current directory of the user's, forgotten afterwards."""
    monkeypatch.chdir(tmp_path)
    path, modules = list(sys.path), set(sys.modules)
    yield tmp_path
    sys.path[:] = path
    for name in set(sys.modules) - modules:
        del sys.modules[name]


def write(path: str, text: str) -> None:
    file = Path(path)
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)


@pytest.mark.parametrize("given", ["trips/one", "trips/one/app.py", "trips.one.app", "trips.one.app:app"])
def test_an_app_is_found_by_folder_file_or_module(given: str) -> None:
    write("trips/one/app.py", APP.format(name="one"))
    assert find_app(given).name == "one"


def test_without_a_name_the_folder_s_own_app_is_meant() -> None:
    write("app.py", APP.format(name="here"))
    assert find_app(None).name == "here"


def test_without_a_name_or_an_app_the_forms_are_told() -> None:
    with pytest.raises(BadInput, match=r"no app is named: give a folder"):
        find_app(None)


def test_a_folder_outside_the_current_one_is_found(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write("away/app.py", APP.format(name="away"))
    (folder / "here").mkdir()
    monkeypatch.chdir(folder / "here")
    assert find_app(str(folder / "away")).name == "away"


def test_the_user_s_folder_named_topics_does_not_take_the_place_of_ours() -> None:
    write("topics/__init__.py", "raise RuntimeError('the wrong topics')")
    write("mine.py", "from segue.topics.records import Result\n" + APP.format(name="mine"))
    assert find_app("mine").name == "mine"


def test_several_apps_must_be_told_apart() -> None:
    write("two.py", "from segue import App\na = App('a', workflows=[])\nb = App('b', workflows=[])\n")
    with pytest.raises(BadInput, match="two has several apps: choose one of two:a, two:b"):
        find_app("two")
    assert find_app("two:b").name == "b"


def test_a_module_without_an_app_says_what_to_write() -> None:
    write("none.py", "x = 1\n")
    with pytest.raises(UnknownName, match="none has no App: write `app = App"):
        find_app("none")
    with pytest.raises(UnknownName, match="none:x is not an App"):
        find_app("none:x")


@pytest.mark.parametrize("given", ["nowhere", "nowhere.app", "no/folder", "no/file.py"])
def test_what_does_not_exist_is_unknown(given: str) -> None:
    with pytest.raises(UnknownName, match="give a folder"):
        find_app(given)


def test_an_error_in_the_user_s_module_is_told_with_its_line() -> None:
    write("broken.py", "import json\n\njson.loads('{')\n")
    with pytest.raises(BadInput, match=r"broken can't be imported: broken\.py:3: JSONDecodeError"):
        find_app("broken")


def test_a_package_elsewhere_keeps_its_relative_imports(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write("parcel/__init__.py", "")
    write("parcel/label.py", "NAME = 'parcel'\n")
    write(
        "parcel/app.py",
        "from segue import App\nfrom .label import NAME\napp = App(NAME, workflows=[])\n",
    )
    folder = Path.cwd() / "parcel"
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert find_app(str(folder)).name == "parcel"


UNRESOLVED = """\
from __future__ import annotations
from typing import TYPE_CHECKING
from segue import App, workflow

if TYPE_CHECKING:
    from segue import Task
    from shop import Order

@workflow
async def ship(task: Task, order: Order) -> None: ...

app = App("shop", workflows=[ship])
"""


def test_an_app_whose_types_only_a_type_checker_finds_is_refused_with_the_place() -> None:
    write("app.py", UNRESOLVED)
    with pytest.raises(BadInput) as refused:
        find_app(None)
    told = str(refused.value)
    assert told.startswith("app can't be imported: app.py:12: BadInput: ")
    assert "app.py:9, in app.ship: parameter 'order' is annotated 'Order': 'Order' is not defined" in told


@pytest.mark.parametrize(
    "raised",
    ["SystemExit(0)", "GeneratorExit()", "__import__('asyncio').CancelledError()", "BaseException(1)"],
)
def test_an_app_that_exits_while_it_is_imported_is_told(raised: str) -> None:
    write("app.py", f"raise {raised}\n")
    with pytest.raises(BadInput, match=r"app can't be imported: app\.py:1: "):
        find_app(None)
