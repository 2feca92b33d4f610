"""What is written is read again as it was, or is not written."""

import subprocess
import sys
from collections import deque
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum
from fractions import Fraction
from ipaddress import IPv4Address, IPv6Address
from pathlib import PurePosixPath
from typing import Annotated, Any, Literal, NamedTuple, cast
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as some
from pydantic import (
    BaseModel,
    ConfigDict,
    Discriminator,
    Field,
    Json,
    PlainValidator,
    RootModel,
    SecretStr,
    Tag,
    ValidationError,
    computed_field,
)
from pydantic.alias_generators import to_camel
from pydantic_ai.messages import ModelMessage, ModelRequest, ToolReturnPart, UserPromptPart

from segue import BadInput
from segue.processors.payloads.truncation import cut_to
from segue.processors.payloads.values import adapter_for, jsonable, values_of
from segue.topics.codec import json_of


class Colour(Enum):
    RED = "red"
    TWO = 2


class Point(NamedTuple):
    x: int
    y: str


class Inner(BaseModel):
    model_config = ConfigDict(alias_generator=to_camel, extra="forbid")

    first_name: str
    how_many: int = 0

    @computed_field  # type: ignore[prop-decorator]
    @property
    def is_many(self) -> bool:
        return self.how_many > 3


@dataclass
class Pair:
    left: int
    right: str


class Tags(RootModel[set[str]]):
    pass


class Cat(BaseModel):
    kind: Literal["cat"] = "cat"


class Dog(BaseModel):
    kind: Literal["dog"] = "dog"


def _inner(name: str, number: int) -> Inner:
    return Inner.model_validate({"firstName": name, "howMany": number})


LEAVES: list["Drawn"] = [
    (str, some.text()),
    (int, some.integers()),
    (bool, some.booleans()),
    (float, some.floats()),
    (Decimal, some.decimals(allow_nan=False) | some.just(Decimal("NaN"))),
    (bytes, some.binary()),
    (datetime, some.datetimes()),
    (date, some.dates()),
    (time, some.times()),
    (timedelta, some.timedeltas(min_value=timedelta(days=-(10**6)), max_value=timedelta(days=10**6))),
    (UUID, some.uuids()),
    (Fraction, some.fractions()),
    (complex, some.complex_numbers(allow_nan=False)),
    (IPv4Address, some.ip_addresses(v=4)),
    (IPv6Address, some.ip_addresses(v=6)),
    (Colour, some.sampled_from(list(Colour))),
    (type(None), some.none()),
    (PurePosixPath, some.text("ab/.").map(PurePosixPath)),
    (Point, some.builds(Point, some.integers(), some.text())),
    (Inner, some.builds(_inner, some.text(), some.integers())),
    (Pair, some.builds(Pair, some.integers(), some.text())),
    (Tags, some.sets(some.text()).map(Tags)),
    (Annotated[Cat | Dog, Field(discriminator="kind")], some.sampled_from([Cat(), Dog()])),
]


Drawn = tuple[Any, some.SearchStrategy[Any]]
"""A type, and its values."""

LIST, TUPLE, DEQUE, SET, DICT = cast("Any", (list, tuple, deque, set, dict))


def _list(of: Drawn) -> Drawn:
    return LIST[of[0]], some.lists(of[1], max_size=3)


def _tuple(of: Drawn) -> Drawn:
    return TUPLE[of[0], ...], some.lists(of[1], max_size=3).map(tuple)


def _deque(of: Drawn) -> Drawn:
    return DEQUE[of[0]], some.lists(of[1], max_size=3).map(deque)


def _set(of: Drawn) -> Drawn:
    return SET[of[0]], some.sets(of[1], max_size=3)


def _object(of: Drawn) -> Drawn:
    return DICT[str, of[0]], some.dictionaries(some.text(), of[1], max_size=3)


def _keyed(of: Drawn) -> Drawn:
    return DICT[of[0], int], some.dictionaries(of[1], some.integers(), max_size=3)


def _union(two: tuple[Drawn, Drawn]) -> Drawn:
    (one, of_one), (other, of_other) = two
    return one | other, of_one | of_other


def _larger(inner: some.SearchStrategy[Drawn]) -> some.SearchStrategy[Drawn]:
    """Types that hold others."""
    hashable = some.sampled_from(LEAVES[:11])
    holders = [inner.map(of) for of in (_list, _tuple, _deque, _object)]
    return some.one_of(
        *holders, some.tuples(inner, inner).map(_union), hashable.map(_set), hashable.map(_keyed)
    )


TYPES = some.recursive(some.sampled_from(LEAVES), _larger, max_leaves=4)


@given(some.data())
def test_what_is_written_is_read_again_or_is_not_written(data: Any) -> None:
    kind, values = data.draw(TYPES)
    value = data.draw(values)
    of_kind = values_of(adapter_for(kind))
    try:
        written = of_kind.write(value)
        json_of(written)
    except BadInput:
        return
    read = of_kind.read(written)
    assert read == value
    assert of_kind.write(read) == written


JSON = some.recursive(
    some.none() | some.booleans() | some.integers() | some.floats() | some.text(),
    lambda inner: some.lists(inner) | some.dictionaries(some.text(), inner),
)


@given(JSON)
def test_json_is_written_as_it_is_or_not_at_all(value: Any) -> None:
    try:
        json_of(written := jsonable(value))
    except BadInput:
        return
    assert written == value


@given(JSON, some.integers(min_value=100, max_value=20_000))
def test_a_view_is_cut_to_its_size(value: Any, most: int) -> None:
    try:
        body = json_of(value)
    except BadInput:
        return
    cut = cut_to(value, most)
    assert len(json_of(cut)) <= most
    assert cut == value or len(body) > most


def test_a_long_conversation_is_shown_with_marks_where_it_was_cut() -> None:
    chat = {"user": "ada", "said": ["x" * 20_000] * 3}
    cut = cut_to(chat, 16_384)
    assert cut["user"] == "ada"
    assert cut["said"] == ["x" * 4_000 + "… (16000 more characters)"] * 3


class Login(BaseModel):
    password: SecretStr = SecretStr("x")


@pytest.mark.parametrize("value", [SecretStr("x"), [Login()], {"a": {"b": Login()}}])
def test_no_secret_is_written(value: Any) -> None:
    with pytest.raises(BadInput, match="a secret can't be sent"):
        jsonable(value)


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        (Any, {1: "a", "1": "b"}),
        (Any, {(1, 2): 3}),
        (dict[tuple[int, int], int], {(1, 2): 3}),
        (str | date, date(2026, 1, 1)),
        (set[int] | list[int], {1}),
        (Colour | str, Colour.RED),
        (Any, object()),
    ],
)
def test_what_would_be_read_as_another_value_is_not_written(kind: Any, value: Any) -> None:
    with pytest.raises(BadInput):
        values_of(adapter_for(kind)).write(value)


def test_a_field_is_read_by_its_alias_and_its_name_and_written_by_its_alias() -> None:
    inner = values_of(adapter_for(list[Inner]))
    for given_as in ({"firstName": "Ada", "howMany": 1}, {"first_name": "Ada", "how_many": 1}):
        assert inner.validate([given_as]) == [{"firstName": "Ada", "howMany": 1, "isMany": False}]
    with pytest.raises(ValidationError, match="Extra inputs"):
        inner.validate([{"firstName": "Ada", "other": 1}])


ORDERS = """
from typing import Any
from pydantic import BaseModel
from segue.processors.payloads.fingerprint import fingerprint
from segue.processors.payloads.values import adapter_for, jsonable, values_of

class Post(BaseModel):
    tags: set[str] = {"x", "y", "z"}
    more: Any = frozenset({"a", "b", "c"})
    nested: list[frozenset[tuple[str, int]]] = [frozenset({("k", 1), ("l", 2), ("m", 3)})]

posts = values_of(adapter_for(Post))
print(jsonable({"s": {"q", "r", "t"}, "p": [Post()]}), posts.write(Post()), posts.json_schema)
print(fingerprint("tool", "t", jsonable({"a": {"q", "r"}, "b": 1})))
print(fingerprint("tool", "t", jsonable({"b": 1, "a": {"r", "q"}})))
"""


def test_sets_have_one_order_in_every_process() -> None:
    def said(seed: int) -> str:
        ran = subprocess.run(
            [sys.executable, "-c", ORDERS],
            env={"PYTHONHASHSEED": str(seed)},
            capture_output=True,
            text=True,
            check=True,
        )
        return ran.stdout

    assert len({said(seed) for seed in range(1, 5)}) == 1
    *_, one, other = said(5).splitlines()
    assert one == other


class Circle(BaseModel):
    kind: Literal["circle"] = Field(serialization_alias="shapeKind")


class Square(BaseModel):
    kind: Literal["square"] = Field(serialization_alias="shapeKind")


Shape = Annotated[Circle | Square, Field(discriminator="kind")]


def _kind(shape: Any) -> Any:
    return cast("dict[str, Any]", shape).get("kind") if isinstance(shape, dict) else shape.kind


ByName = Annotated[Annotated[Circle, Tag("circle")] | Annotated[Square, Tag("square")], Discriminator(_kind)]


class Stored(BaseModel):
    numbers: Json[list[int]]


def test_a_discriminator_is_read_as_it_is_written() -> None:
    shapes = values_of(adapter_for(list[Shape]))
    written = shapes.write([Square(kind="square"), Circle(kind="circle")])
    assert written == [{"shapeKind": "square"}, {"shapeKind": "circle"}]
    assert shapes.read(written) == [Square(kind="square"), Circle(kind="circle")]
    assert shapes.validate([{"kind": "circle"}]) == [{"shapeKind": "circle"}]


def test_a_discriminator_of_the_user_that_does_not_know_the_alias_is_refused_at_writing() -> None:
    with pytest.raises(BadInput, match="would be read as another value"):
        values_of(adapter_for(ByName)).write(Square(kind="square"))


def test_json_in_a_text_is_written_as_text() -> None:
    stored = values_of(adapter_for(Stored))
    written = stored.validate({"numbers": "[1, 2]"})
    assert written == {"numbers": "[1,2]"}
    assert stored.read(written).numbers == [1, 2]


def test_a_plain_validator_is_not_called_again() -> None:
    calls: list[str] = []

    def marked(value: str) -> str:
        calls.append(value)
        return f"{value}!"

    texts = values_of(adapter_for(Annotated[str, PlainValidator(marked)]))
    written = texts.validate("a")
    assert texts.read(written) == texts.read(written) == "a!"
    assert calls == ["a"]


@pytest.mark.parametrize(
    "key", [date(2026, 1, 1), UUID(int=1), Decimal("1.5"), Colour.RED, timedelta(days=1)]
)
def test_a_key_that_has_a_text_is_that_text(key: Any) -> None:
    of_kind = values_of(adapter_for(type(key)))
    assert jsonable({key: 1}) == {of_kind.write(key): 1}


@pytest.mark.parametrize("value", [UUID(int=1), date(2026, 1, 1), Decimal("1.5"), b"a"])
def test_what_a_plain_validator_makes_is_written_as_its_annotation_is(value: Any) -> None:
    kind = cast("Any", type(value))
    plain = values_of(adapter_for(Annotated[kind, PlainValidator(lambda _: value)]))
    assert plain.write(value) == values_of(adapter_for(kind)).write(value)
    assert plain.read(plain.write(value)) == value


class Note(BaseModel):
    text: str | list[str]
    about: Any = None
    shape: Cat | Dog = Cat()


@pytest.mark.parametrize("about", [(1, 2), {"b", "a"}, date(2026, 1, 1), {"c": [Pair(1, "x")]}, Cat()])
def test_what_has_no_annotation_beside_a_union_is_written_in_the_types_of_json(about: Any) -> None:
    notes = values_of(adapter_for(list[Note]))
    written = notes.write([Note(text="a", about=about)])
    assert jsonable([Note(text="a", about=about)]) == written
    assert notes.read(written)[0].about == jsonable(about)


def test_the_messages_of_an_agent_are_written_whatever_its_tools_returned() -> None:
    returned = ToolReturnPart(tool_name="t", content=Pair(1, "x"), tool_call_id="1")
    messages: list[ModelMessage] = [ModelRequest(parts=[returned, UserPromptPart("hi")])]
    written = values_of(adapter_for(list[ModelMessage])).write(messages)
    assert jsonable(messages) == written
    assert written[0]["parts"][0]["content"] == {"left": 1, "right": "x"}
