"""What README shows, for the tests that follow it."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[1]


def text() -> str:
    return (ROOT / "README.md").read_text()


def block_after(words: str, language: str = "python") -> str:
    """Return the first block of code in that language after those words."""
    _, found, rest = text().partition(words)
    assert found, f"README does not say {words!r}"
    match = re.search(rf"^```{language}\n(.*?)^```$", rest, re.DOTALL | re.MULTILINE)
    assert match, f"README has no {language} after {words!r}"
    return match[1]
