"""The documentation's site is strict, and its references are complete."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import segue
from docs.site import reference
from segue.streams.cli import COMMANDS
from segue.streams.settings import ENV_PREFIX, Settings
from segue.topics import contracts

ROOT = Path(__file__).parents[2]

FAULTY = """# A page

[no such page](nowhere.md), [no such heading](concepts.md#nothing), [no such file](../examples/nothing)
"""


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """The repository, with its own copy of docs/."""
    for each in ROOT.iterdir():
        if each.name not in ("docs", ".site", "mkdocs.yml"):
            (tmp_path / each.name).symlink_to(each)
    shutil.copytree(ROOT / "docs", tmp_path / "docs")
    shutil.copy(ROOT / "mkdocs.yml", tmp_path)
    return tmp_path


def test_a_page_without_its_place_and_a_link_that_leads_nowhere_fail_the_build(copy: Path) -> None:
    (copy / "docs" / "faulty.md").write_text(FAULTY)
    errors = copy / "docs" / "reference" / "api" / "errors.md"
    errors.write_text(errors.read_text().replace("topics.errors", "topics.tokens"))
    built = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build"],
        cwd=copy,
        env=os.environ | {"NO_MKDOCS_2_WARNING": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert built.returncode == 1
    for told in (
        'not included in the "nav" configuration:\n  - faulty.md',
        "faulty.md links ../examples/nothing, which does not exist",
        "'nowhere.md'",
        "'concepts.md#nothing'",
        "no page of docs/reference/api has the public names BadInput, ",
    ):
        assert told in built.stderr.replace("INFO    -  ", "")


def test_each_public_name_is_on_a_page_of_the_reference() -> None:
    pages = "".join(path.read_text() for path in (ROOT / "docs" / "reference" / "api").glob("*.md"))
    packages = {word for line in pages.splitlines() if "reference: api" in line for word in line.split()}
    shown = reference.generate("api", sorted(packages))
    assert {line.rpartition(".")[2] for line in shown.split() if "." in line} == set(segue.__all__)


def test_the_reference_has_each_command_setting_topic_and_metric() -> None:
    commands, settings = reference.generate("commands", []), reference.generate("settings", [])
    topics, metrics = reference.generate("topics", []), reference.generate("metrics", [])
    assert [name for name in COMMANDS if f"## segue {name}\n" not in commands] == []
    assert "### segue dead-letters show\n" in commands
    assert [n for n in Settings.model_fields if f"## {ENV_PREFIX}{n.upper()}\n" not in settings] == []
    assert [topic.name for topic in contracts.ALL if f"| `{topic.name}` |" not in topics] == []
    assert "| `segue_tasks_ended_total` | counter | workflow, outcome |" in metrics


def test_the_reference_is_the_same_on_every_machine() -> None:
    assert str(Path.home()) not in reference.generate("settings", [])
