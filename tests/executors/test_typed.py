"""Nothing that a type takes is refused by the schema that pydantic made of it."""

import json
from datetime import date, datetime, timedelta
from decimal import Decimal
from enum import Enum, IntEnum
from typing import Annotated, Any, Literal
from uuid import UUID

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from pydantic import BaseModel, Field, StringConstraints, TypeAdapter, ValidationError

from segue.streams.json_schema.typed import misfit


class Size(IntEnum):
    SMALL = 1
    LARGE = 2


class Rate(float, Enum):
    HALF = 0.5


class Line(BaseModel):
    amount: float = Field(multiple_of=0.01)
    size: Size
    due: date | None = None


class Cat(BaseModel):
    kind: Literal["cat"]
    lives: int


class Dog(BaseModel):
    kind: Literal["dog"]
    tricks: set[str]


TYPES: list[Any] = [
    Annotated[float, Field(multiple_of=0.01)],
    Annotated[float, Field(multiple_of=0.1, ge=0)],
    Annotated[int, Field(multiple_of=3)],
    Annotated[Decimal, Field(multiple_of=0.01, decimal_places=2, max_digits=6)],
    Annotated[str, Field(pattern=r"^\p{L}+$")],
    Annotated[str, Field(pattern=r"^\d+$", max_length=3)],
    Annotated[str, StringConstraints(strip_whitespace=True, max_length=3, pattern="^abc$")],
    Annotated[bytes, Field(min_length=2)],
    Annotated[set[int], Field(max_length=2)],
    bool,
    bool | None,
    datetime,
    timedelta,
    UUID,
    Literal[1, "a"],
    Size,
    Rate,
    list[Line],
    dict[str, Line],
    Annotated[Cat | Dog, Field(discriminator="kind")],
    Cat | Dog | int,
    tuple[int, str],
]

scalars = (
    st.none()
    | st.booleans()
    | st.integers(-10, 10)
    | st.integers(1_600_000_000, 1_900_000_000)
    | st.floats(-100, 100)
    | st.integers(-2_000, 2_000).map(lambda cents: cents / 100)
    | st.sampled_from(
        [
            "",
            "a",
            "é",
            " abc ",
            "abc",
            "yes",
            "1",
            "01",
            " 1",
            "5e-1",
            "2.50",
            "1.0",
            "٣",
            "2026-11-30",
            "P1D",
            "cat",
        ]
    )
    | st.text(max_size=4)
)
values = st.recursive(
    scalars,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["amount", "size", "due", "kind", "lives", "tricks"]), inner, max_size=4
        )
    ),
    max_leaves=6,
)


@pytest.mark.parametrize("type_", TYPES, ids=str)
@settings(deadline=None)
@given(value=values)
def test_what_the_type_takes_is_not_refused(type_: Any, value: Any) -> None:
    adapter = TypeAdapter[Any](type_)
    try:
        adapter.validate_json(json.dumps(value))
    except ValidationError:
        return
    assume(not (adapter.core_schema["type"] == "decimal" and isinstance(value, list)))
    assert misfit(adapter.json_schema(), value) is None


@pytest.mark.parametrize(
    ("type_", "value", "why"),
    [
        (Annotated[float, Field(multiple_of=0.01)], 19.999, "19.999 is not a multiple of 0.01"),
        (Annotated[str, Field(pattern=r"^\p{L}+$")], "1", r"'1' does not match '^\\p{L}+$'"),
        (int, "many", "'many' is not of type 'integer'"),
        (datetime, "soon", "'soon' is not a 'date-time'"),
        (Line, {"amount": 1}, "'size' is a required property"),
        (list[Size], [1, 3], "1: 3 is not one of [1, 2]"),
        (Literal["a"], "b", "'a' was expected"),
    ],
)
def test_what_it_surely_refuses_is_refused_early(type_: Any, value: Any, why: str) -> None:
    assert misfit(TypeAdapter(type_).json_schema(), value) == why


def test_a_reference_to_elsewhere_is_left_to_the_type() -> None:
    assert misfit({"$ref": "http://127.0.0.1:9/schema.json"}, 1) is None
