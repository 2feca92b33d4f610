"""Segue consists of four packages side by side. A folder of the user's with such a name could shadow one.

Checked before anything is imported from them, so that the error names the folder and not some missing name.
"""

from importlib.util import find_spec
from pathlib import Path

HOME = Path(__file__).parent.parent


def check_that_none_is_shadowed() -> None:
    """Raises `ImportError` that says which folder to rename."""
    for name in ("topics", "processors", "streams"):
        spec = find_spec(name)
        if spec is None or spec.origin is None or Path(spec.origin).parent.parent != HOME:
            where = spec.submodule_search_locations if spec else None
            found = next(iter(where), "nowhere") if where else "nowhere"
            raise ImportError(f"Segue needs its own package {name!r}, but found {found}: rename that folder")
