"""A result as a person reads it."""

from typing import Any

import pytest

from segue.streams.cli.fields import fields


@pytest.mark.parametrize(
    ("result", "lines"),
    [
        (None, []),
        (6, ["  6"]),
        ("two words", ["  two words"]),
        ({}, []),
        (
            {"hotel": "Casa do Mar", "check_in": "2027-10-01", "note": None},
            ["  hotel     Casa do Mar", "  check_in  2027-10-01"],
        ),
    ],
)
def test_each_field_has_a_line(result: Any, lines: list[str]) -> None:
    assert [line.plain for line in fields(result)] == lines
