"""What travels or is kept is JSON, bytes, or sealed bytes: nothing that runs code when it is read."""

import ast
from pathlib import Path

ROOT = Path(__file__).parents[1]
RUNS_CODE = {"pickle", "cPickle", "cloudpickle", "dill", "joblib", "marshal", "shelve"}


def imported(module: Path) -> set[str]:
    found: set[str] = set()
    for node in ast.walk(ast.parse(module.read_text())):
        if isinstance(node, ast.Import):
            found |= {name.name.partition(".")[0] for name in node.names}
        elif isinstance(node, ast.ImportFrom):
            found.add((node.module or "").partition(".")[0])
    return found


def test_no_module_of_ours_imports_what_unpickles() -> None:
    packages = [ROOT / name for name in ("segue", "topics", "processors", "streams")]
    modules = [path for package in packages for path in package.rglob("*.py")]
    assert len(modules) > 50
    assert {str(path): wrong for path in modules if (wrong := imported(path) & RUNS_CODE)} == {}


def test_the_state_store_is_opened_for_raw_bytes_alone() -> None:
    """rocksdict would otherwise pickle what is no bytes."""
    assert "Options(raw_mode=True)" in (ROOT / "streams" / "state" / "store.py").read_text()
