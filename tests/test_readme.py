"""README is short, its links lead somewhere, and its example needs nothing else."""

import re

import pytest

from tests.readme import ROOT, block_after, text

LINK = re.compile(r"\]\(([^)#]+)(?:#[^)]*)?\)")


def test_it_is_read_in_a_few_minutes() -> None:
    assert len(text().splitlines()) <= 120


def test_its_example_is_at_most_twelve_lines() -> None:
    lines = [line for line in block_after("`hello.py`").splitlines() if line.strip()]
    assert len(lines) <= 12


@pytest.mark.parametrize("link", sorted(set(LINK.findall(text()))))
def test_a_link_leads_to_a_file_or_folder(link: str) -> None:
    assert (ROOT / link).exists()


def test_it_names_the_two_commands() -> None:
    assert block_after("## Work on it", "console").split("\n")[:2] == ["make demo", "make test"]
