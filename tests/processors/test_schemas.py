"""Who decides by the schema of a type: it says all that the type takes, or the type is asked."""

from enum import Enum
from typing import Annotated, Any

import pytest
from pydantic import AliasChoices, BaseModel, BeforeValidator, ConfigDict, Field, PlainSerializer, TypeAdapter

from segue import App, ModelRoute, Policy, Task, workflow
from segue.processors.payloads.schemas import schema_of, type_decides
from tests.driver import Driver


class Named(BaseModel):
    model_config = ConfigDict(validate_by_name=True)
    first_name: str = Field(alias="firstName")


class Counted(BaseModel):
    pages: int = Field(validation_alias=AliasChoices("n", "pages"))


class Loose(Enum):
    A = "a"

    @classmethod
    def _missing_(cls, value: object) -> "Loose":
        return cls.A


class Tree(BaseModel):
    children: "list[Tree]" = []
    price: Annotated[float, PlainSerializer(str)] = 1.0


Cents: Any = Annotated[float, Field(multiple_of=0.01)]
Euros = Annotated[float, BeforeValidator(lambda text: str(text).replace(",", "."))]


@pytest.mark.parametrize("type_", [Euros, list[Euros], dict[str, Named], Loose, Counted])
def test_a_type_that_takes_more_than_its_schema_is_marked(type_: Any) -> None:
    assert type_decides(schema_of(TypeAdapter(type_)))


@pytest.mark.parametrize("type_", [int, list[str], Tree, Annotated[float, Field(multiple_of=0.01)]])
def test_any_other_has_the_schema_that_pydantic_makes(type_: Any) -> None:
    adapter = TypeAdapter[Any](type_)
    assert schema_of(adapter) == adapter.json_schema()


@workflow
async def price(task: Task) -> float:
    return await task.model("price", "how much?", output=Cents)


def test_what_the_type_takes_is_the_result_and_what_it_refuses_goes_back() -> None:
    answers = iter([19.999, 19.99])
    route = ModelRoute("price", ["m"], policy=Policy(max_reprompts=1))
    driver = Driver(App("x", workflows=[price], routes=[route]), {"price": lambda call: next(answers)})
    driver.submit("price")
    driver.run()
    assert driver.result().result == 19.99
    assert [entry.split()[1] for entry in driver.ran] == ["m", "m"]
