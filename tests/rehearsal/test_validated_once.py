"""Validators that say something else each time, and aliases that are read and not written."""

from itertools import count
from typing import Annotated, Any
from uuid import UUID, uuid4

import pytest
from pydantic import (
    AfterValidator,
    AliasChoices,
    AliasPath,
    BaseModel,
    Field,
    PlainValidator,
    field_validator,
)

from segue import App, BadInput, ModelRoute, Task, tool, workflow
from segue.testing import Rehearsal

CALLS = count()

think = ModelRoute("think", ["openai:none"])


@tool
async def note(what: Any) -> Any:
    return what


def app_of(*workflows: Any) -> App:
    return App("values", workflows=workflows, tools=[note], routes=[think])


def _numbered(text: str) -> str:
    return f"{text}{next(CALLS)}"


class Marked(BaseModel):
    after: Annotated[str, AfterValidator(_numbered)]
    plain: Annotated[str, PlainValidator(_numbered)]
    id: UUID = Field(default_factory=uuid4)

    @field_validator("id", mode="plain")
    @classmethod
    def made(cls, _: Any) -> UUID:
        return uuid4()


@workflow
async def marks(task: Task, marked: Marked) -> Marked:
    heard = await task.signal("more", Marked)
    await task.tool(note, [marked, heard])
    if len(marked.plain) < 5:
        task.continue_as_new({"after": "b", "plain": "long enough"})
    return marked


def test_a_new_run_begins_with_the_value_that_was_validated_once() -> None:
    app, asked = app_of(marks), {"after": "a", "plain": "a", "id": str(UUID(int=1))}
    with Rehearsal(app) as play:
        play.start(marks, asked)
        play.signal("more", asked)
        play.run()
        play.restart()
        play.signal("more", asked)
        assert play.result().plain.startswith("long enough")


class Loose(BaseModel):
    pages: int = Field(validation_alias=AliasChoices("n", AliasPath("size", 0)))


@workflow
async def loosely(task: Task) -> list[int]:
    answered = await task.ask("ada", "How many?", answer=Loose)
    said = await task.model(think, "How many?", output=Loose)
    return [answered.pages, said.pages]


@pytest.mark.parametrize("given", [{"n": 2}, {"size": [2]}, {"pages": 2}])
def test_an_answer_is_read_by_each_alias_as_an_input_is(given: Any) -> None:
    with Rehearsal(app_of(loosely), models={"think": given}) as play:
        play.start(loosely)
        play.answer(given)
        assert play.result() == [2, 2]


def test_half_of_a_surrogate_pair_is_refused_where_it_enters() -> None:
    with Rehearsal(app_of(marks)) as play, pytest.raises(BadInput, match="JSON can't hold"):
        play.start(marks, {"after": "\ud800"})
