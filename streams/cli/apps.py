"""Find the `App` by its name: `examples/travel`, `examples/travel/app.py`, `travel.app`, `travel.app:app`.

The current directory goes to the end of `sys.path`, so that a folder of the user's named `topics`, say, does
not take the place of Segue's.
"""

import os
import sys
import traceback
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType

import click

from segue.processors.app.app import App
from segue.topics.descriptions import kind_of, text_of
from segue.topics.errors import BadInput, UnknownName

app_argument = click.argument("app", required=False, envvar="SEGUE_APP")
app_option = click.option(
    "--app", envvar="SEGUE_APP", help="The app: a folder, file or module (else $SEGUE_APP)."
)

FORMS = "give a folder (examples/travel), a file (travel/app.py) or a module (travel.app, travel.app:app)"


def find_app(given: str | None) -> App:
    """Return the app. Raise a `BadInput` or `UnknownName` that says which forms are valid."""
    if not given and not Path("app.py").is_file():
        raise BadInput(f"no app is named: {FORMS}, or set SEGUE_APP")
    path, _, attribute = (given or "app.py").partition(":")
    root, name = _module_name(path)
    if str(root) not in sys.path:
        sys.path.append(str(root))
    module = _imported(root, name, path)
    return _attribute(module, attribute) if attribute else _the_only_app(module)


def _module_name(given: str) -> tuple[Path, str]:
    """The folder to import from, and the module's name there."""
    path = Path(given)
    if path.is_dir():
        if not (path / "app.py").is_file() and not (path / "__init__.py").is_file():
            raise UnknownName(f"no app.py in the folder {given!r}: {FORMS}")
        path = path / "app.py" if (path / "app.py").is_file() else path
    elif path.suffix == ".py" or os.sep in given:
        if not path.is_file():
            raise UnknownName(f"no file {given!r}: {FORMS}")
    else:
        return Path.cwd(), given
    return _place(path.resolve())


def _place(path: Path) -> tuple[Path, str]:
    """Return the root and the module's name: from the current directory if the file is inside it, else from
    the folder that contains its package."""
    inside = path.is_relative_to(Path.cwd())
    root = Path.cwd() if inside else _outside_packages(path.parent)
    parts = path.relative_to(root).with_suffix("").parts
    if not all(part.isidentifier() for part in parts):
        root, parts = path.parent, (path.stem,)
    return root, ".".join(parts)


def _outside_packages(folder: Path) -> Path:
    """Return the nearest parent folder that is not a package: relative imports need the packages below it."""
    return _outside_packages(folder.parent) if (folder / "__init__.py").is_file() else folder


def _imported(root: Path, name: str, given: str) -> ModuleType:
    try:
        found = find_spec(name)
    except ModuleNotFoundError:
        found = None
    except ValueError:
        found = None
    if found is None:
        raise UnknownName(f"no module {name!r} here (looked for {given!r}): {FORMS}")
    try:
        return import_module(name)
    except KeyboardInterrupt:
        raise
    except BaseException as error:
        what = f"{kind_of(error)}: {text_of(error)}"
        raise BadInput(f"{name} can't be imported: {_where(error, root)}{what}") from error


def _where(error: BaseException, root: Path) -> str:
    """Return the last line of the user's code that ran. A SyntaxError names its own line."""
    frames = traceback.extract_tb(error.__traceback__)
    theirs = [frame for frame in frames if _is_own(Path(frame.filename), root)]
    return f"{os.path.relpath(theirs[-1].filename, root)}:{theirs[-1].lineno}: " if theirs else ""


def _is_own(path: Path, root: Path) -> bool:
    """Return whether the file is the user's, not a library's; the environment may lie in the user's
    folder."""
    return path.is_relative_to(root) and not path.is_relative_to(sys.prefix) and path != Path(__file__)


def _the_only_app(module: ModuleType) -> App:
    apps = {id(value): name for name, value in vars(module).items() if isinstance(value, App)}
    if len(apps) > 1:
        names = ", ".join(f"{module.__name__}:{name}" for name in apps.values())
        raise BadInput(f"{module.__name__} has several apps: choose one of {names}")
    if not apps:
        raise UnknownName(
            f"{module.__name__} has no App: write `app = App({module.__name__!r}, workflows=[…])` in it"
        )
    (name,) = apps.values()
    return _attribute(module, name)


def _attribute(module: ModuleType, attribute: str) -> App:
    found = getattr(module, attribute, None)
    if not isinstance(found, App):
        raise UnknownName(f"{module.__name__}:{attribute} is not an App")
    return found
