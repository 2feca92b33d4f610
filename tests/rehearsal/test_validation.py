"""Values are validated once, arrive as they were written, and are the same when a task is played again."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import count
from typing import Annotated, Any, Literal
from uuid import UUID, uuid4

import pytest
from pydantic import (
    AfterValidator,
    AliasChoices,
    AliasPath,
    BaseModel,
    ConfigDict,
    Field,
    FutureDatetime,
    SecretStr,
    computed_field,
    field_validator,
    model_validator,
)
from pydantic.alias_generators import to_camel

from segue import App, BadInput, McpServer, ModelRoute, Task, ToolRoute, check, tool, workflow
from segue.testing import NoResult, Rehearsal, crash_everywhere

CALLS: Iterator[int] = count()
OPEN = {"shop": True}


def _echo(asked: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in asked.items() if name != "isLong"}


ECHO = {"think": _echo}


class Name(BaseModel):
    first_name: str = Field(alias="firstName")


class Shelf(BaseModel):
    model_config = ConfigDict(alias_generator=to_camel, extra="forbid")

    book_name: Name
    page_count: Annotated[int, Field(validation_alias=AliasChoices("pages", AliasPath("size", 0)))] = 1

    @computed_field  # type: ignore[prop-decorator]
    @property
    def is_long(self) -> bool:
        return self.page_count > 300


class Stamped(BaseModel):
    """Everything about it is different when it is validated again."""

    text: str
    id: UUID = Field(default_factory=uuid4)
    number: int = Field(default_factory=lambda: next(CALLS))
    tags: set[str] = {"b", "a", "c"}

    @field_validator("text")
    @classmethod
    def hashed(cls, text: str) -> str:
        return f"#{text}"

    @model_validator(mode="after")
    def is_open(self) -> "Stamped":
        if not OPEN["shop"]:
            raise ValueError("closed")
        return self


@dataclass
class Parcel:
    text: Annotated[str, AfterValidator(lambda text: text + "!")]
    weights: list[Annotated[int, AfterValidator(lambda grams: grams * 2)]]
    total: int = field(init=False, default=0)

    def __post_init__(self) -> None:
        self.total += sum(self.weights)
        self.label = f"to {self.text}"


class Visit(BaseModel):
    starts: FutureDatetime


@pytest.fixture(autouse=True)
def _open() -> Iterator[None]:
    OPEN["shop"] = True
    yield
    OPEN["shop"] = True


@tool
async def note(what: Any) -> Any:
    return what


@tool
async def bind(shelf: Shelf) -> Shelf:
    assert shelf.book_name.first_name == "Ada"
    return shelf


@tool
async def stamp(text: str) -> Stamped:
    return Stamped(text=text)


elsewhere = McpServer("elsewhere", ("none",))
found = ToolRoute("found", [elsewhere.tool("find")], output=Stamped)
think = ModelRoute("think", ["openai:none"])


def _shelf(pages: int) -> Shelf:
    return Shelf.model_validate({"bookName": {"firstName": "Ada"}, "pages": pages})


def app_of(*workflows: Any, **more: Any) -> App:
    return App("values", workflows=workflows, tools=[note, bind, stamp], routes=[found, think], **more)


# ---------------------------------------------------------------- 14: written and read


@check
def is_ada(shelf: Shelf, expected: Shelf) -> None:
    assert shelf == expected


@workflow
async def shelve(task: Task, shelf: Shelf) -> Shelf:
    bound = await task.tool(bind, shelf)
    child = await task.child(shelved, bound)
    signalled = await task.signal("shelf", Shelf)
    answered = await task.ask("ada", "Which?", answer=Shelf)
    picked = await task.ask("ada", "Which of them?", options={"this": answered})
    said = await task.model(think, picked, output=Shelf, check=is_ada(expected=shelf))
    assert bound == child == signalled == answered == picked == said == shelf
    task.set_view(said)
    if shelf.page_count == 1:
        task.continue_as_new(said.model_copy(update={"page_count": 2}))
    return said


@workflow
async def shelved(task: Task, shelf: Shelf) -> Shelf:
    return shelf


def test_a_model_with_aliases_travels_everywhere_by_its_aliases() -> None:
    by_name = {"book_name": {"first_name": "Ada"}, "size": [2]}
    with Rehearsal(app_of(shelve, shelved, checks=[is_ada]), models=ECHO) as play:
        play.start(shelve, {"bookName": {"firstName": "Ada"}, "pages": 1})
        for pages, given in ((1, _shelf(1)), (2, by_name)):
            play.signal("shelf", given)
            play.answer(_shelf(pages))
            play.answer(1)
        assert play.result() == _shelf(2)
        wire = {"bookName": {"firstName": "Ada"}, "pageCount": 2, "isLong": False}
        assert play.ended().result == wire
        assert play.status().view == wire
        assert all(call.given["shelf"]["bookName"] == {"firstName": "Ada"} for call in play.calls("bind"))
    app, acts = app_of(shelve, shelved, checks=[is_ada]), range(1, 40, 13)
    assert crash_everywhere(_shelving, app, models=ECHO, acts=acts) == 6


def _shelving(play: Rehearsal) -> None:
    shelf = _shelf(2)
    task = play.start(shelve, shelf, id="s")
    play.signal("shelf", shelf, task)
    play.answer(shelf, task)
    play.answer(1, task)
    assert play.result(task) == shelf


class Login(BaseModel):
    user: str
    password: SecretStr


@workflow
async def log_in(task: Task, login: Login) -> None:
    await task.tool(note, login)


@workflow
async def leaks(task: Task) -> None:
    await task.tool(note, {"logins": [Login(user="ada", password=SecretStr("x"))]})


def test_a_secret_is_refused_where_it_enters_with_a_sentence() -> None:
    with Rehearsal(app_of(log_in, leaks)) as play:
        with pytest.raises(BadInput, match=r"a secret can't be sent: .* Pass the name by which"):
            play.start(log_in, {"user": "ada", "password": "x"})
        play.start(leaks)
        with pytest.raises(NoResult, match="a secret can't be sent"):
            play.result()


UNREADABLE: dict[str, Any] = {
    "nan": float("nan"),
    "infinite": {"x": [float("-inf")]},
    "huge": 10**4300,
    "surrogate": "\ud800",
    "bytes": b"\xff",
    "same keys": {1: 1, "1": 2},
    "pairs": {(1, 2): 3},
    "circle": None,
}
_CIRCLE: list[Any] = []
_CIRCLE.append(_CIRCLE)
UNREADABLE["circle"] = _CIRCLE


@tool
async def give(name: str) -> Any:
    return UNREADABLE[name]


@workflow
async def asks_for(task: Task, name: str) -> str:
    with pytest.raises(Exception, match="JSON can't hold"):
        await task.tool(give, name)
    for pass_on in (
        lambda: task.set_view(UNREADABLE[name]),
        lambda: task.start("asks_for", {"x": UNREADABLE[name]}),
    ):
        with pytest.raises(BadInput, match="JSON can't hold"):
            pass_on()
    return "refused"


@pytest.mark.parametrize("name", UNREADABLE)
def test_what_nobody_could_read_is_not_written(name: str) -> None:
    with Rehearsal(App("a", workflows=[asks_for], tools=[give])) as play:
        play.start(asks_for, name)
        assert play.result() == "refused"


@workflow
async def price(task: Task) -> Decimal:
    return await task.ask("ada", "How much?", answer=Decimal)


@pytest.mark.parametrize("given", ["12345678901234567890.12", Decimal("12345678901234567890.12")])
def test_a_decimal_keeps_its_digits(given: Any) -> None:
    with Rehearsal(app_of(price)) as play:
        play.start(price)
        play.answer(given)
        assert play.result() == Decimal("12345678901234567890.12")


# ---------------------------------------------------------------- 7: validated once


@workflow
async def takes(task: Task, given: Stamped) -> Stamped:
    again = await task.tool(note, given)
    assert again["text"] == given.text
    await task.sleep(60)
    await task.tool(note, [given.id, given.number, given.text])
    return given


@workflow
async def takes_parcel(task: Task, parcel: Parcel) -> list[Any]:
    await task.tool(note, 1)
    await task.tool(note, [parcel.text, parcel.weights, parcel.total, parcel.label])
    return [parcel.text, parcel.weights, parcel.total, parcel.label]


@workflow
async def parent(task: Task) -> Stamped:
    made = await task.child(takes, {"text": "c"})
    await task.tool(note, [made.id, made.text])
    return made


@workflow
async def hears(task: Task) -> list[str]:
    early = await task.tool(note, "kept")
    heard = [await task.signal("word", Stamped), await task.signal("word", Stamped)]
    answer = await task.ask("ada", "What?", answer=Stamped)
    result = await task.tool(found)
    said = await task.model(think, "Say it", output=Stamped)
    own = await task.tool(stamp, "own")
    all_of = [*heard, answer, result, said, own]
    await task.tool(note, [early, *((each.id, each.number, each.text) for each in all_of)])
    await task.sleep(60)
    return [each.text for each in all_of]


@workflow
async def goes_on(task: Task, given: Stamped) -> list[str]:
    await task.tool(note, [given.id, given.text])
    if len(given.text) < 4:
        task.continue_as_new(given)
    return [given.text, str(given.number)]


def test_an_input_is_validated_once() -> None:
    with Rehearsal(app_of(takes, takes_parcel)) as play:
        play.start(takes, {"text": "a"}, id="a")
        play.run()
        OPEN["shop"] = False
        play.restart()
        play.advance(timedelta(minutes=2))
        assert play.result("a").text == "#a"
        play.start(takes_parcel, {"text": "Ada", "weights": [1, 2]}, id="b")
        assert play.result("b") == ["Ada!", [2, 4], 6, "to Ada!"]


def test_what_comes_from_elsewhere_is_validated_once() -> None:
    stand_ins: Any = {"models": {"think": {"text": "m"}}, "tools": {"found": {"text": "t"}}}
    with Rehearsal(app_of(hears), **stand_ins) as play:
        play.start(hears, id="h")
        for word in ("x", "y"):
            play.signal("word", {"text": word})
        play.answer({"text": "z"})
        play.run()
        OPEN["shop"] = False
        play.restart()
        play.advance(timedelta(minutes=2))
        assert play.result() == ["#x", "#y", "#z", "#t", "#m", "#own"]


def test_what_a_validator_refused_stays_refused() -> None:
    with Rehearsal(app_of(hears)) as play:
        play.start(hears, id="h")
        OPEN["shop"] = False
        play.signal("word", {"text": "early"})
        play.run()
        OPEN["shop"] = True
        play.restart()
        play.signal("word", {"text": "late"})
        play.run()
        assert [letter.value for letter in play.dead_letters()]
        assert play.status().state == "running"


def test_children_and_runs_are_validated_once() -> None:
    with Rehearsal(app_of(parent, takes, goes_on)) as play:
        play.start(parent, id="p")
        play.run()
        OPEN["shop"] = False
        play.restart()
        play.advance(timedelta(minutes=2))
        assert play.result("p").text == "#c"
        OPEN["shop"] = True
        play.start(goes_on, {"text": "a"}, id="g")
        assert play.result("g")[0] == "###a"


@workflow
async def plans(task: Task, visit: Visit) -> str:
    await task.sleep(60)
    return (await task.tool(note, visit.starts)) and "went"


def test_a_time_that_was_in_the_future_is_not_compared_again() -> None:
    starts = datetime.now(UTC) + timedelta(milliseconds=300)
    with Rehearsal(app_of(plans)) as play:
        play.start(plans, {"starts": starts})
        play.run()
        while datetime.now(UTC) <= starts:
            pass
        play.restart()
        play.advance(timedelta(minutes=2))
        assert play.result() == "went"


# ---------------------------------------------------------------- 16: the order of a union


class Cat(BaseModel):
    name: str


class Dog(BaseModel):
    name: str


@workflow
async def asks_in_two_orders(task: Task) -> list[str]:
    kinds: list[Any] = [Cat | Dog, Dog | Cat, list[Cat | Dog], list[Dog | Cat], Literal[1], Literal[True]]
    heard: list[Any] = [await task.signal("a", kind) for kind in kinds]
    return [type(each[0] if isinstance(each, list) else each).__name__ for each in heard]  # pyright: ignore[reportUnknownArgumentType]


def test_types_that_are_equal_for_python_are_read_as_they_are_spelled() -> None:
    with Rehearsal(app_of(asks_in_two_orders)) as play:
        play.start(asks_in_two_orders)
        for value in ({"name": "a"}, {"name": "a"}, [{"name": "a"}], [{"name": "a"}], 1, True):
            play.signal("a", value)
        assert play.result() == ["Cat", "Dog", "Cat", "Dog", "int", "bool"]


# ---------------------------------------------------------------- 17: defaults


@workflow
async def counts_to(task: Task, n: int = 3) -> int:
    return n


@workflow
async def counts_by_name(task: Task, *, n: int | None = 3) -> int | None:
    return n


ADA = Name(firstName="Ada")


@workflow
async def has_model(task: Task, name: Name = ADA) -> str:
    return name.first_name


@workflow
async def starts_all(task: Task) -> list[Any]:
    given = await task.child(counts_by_name, None)
    return [await task.child(counts_to), await task.child(counts_by_name), given, await task.child(has_model)]


def test_an_input_that_is_not_given_is_the_default() -> None:
    with Rehearsal(app_of(counts_to, counts_by_name, has_model, starts_all)) as play:
        assert play.result(play.start(counts_to)) == 3
        assert play.result(play.start("counts_to")) == 3
        assert play.result(play.start(counts_by_name)) == 3
        assert play.result(play.start(counts_by_name, None)) is None
        assert play.result(play.start(has_model)) == "Ada"
        assert play.result(play.start(starts_all)) == [3, 3, None, "Ada"]
        with pytest.raises(BadInput, match="valid integer"):
            play.start(counts_to, None)
