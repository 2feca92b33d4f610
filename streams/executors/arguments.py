"""From the JSON arguments of a call to those of a Python function, by its annotations."""

from collections.abc import Iterable, Mapping
from inspect import Parameter
from typing import Any

from pydantic import TypeAdapter, ValidationError

from segue.processors.payloads.values import values_of
from segue.topics.codec import describe
from segue.topics.errors import Permanent


def bind(
    who: str,
    parameters: Iterable[Parameter],
    adapters: Mapping[str, TypeAdapter[Any]],
    arguments: Mapping[str, Any],
) -> dict[str, Any]:
    """The keyword arguments for `who`'s function.

    Raises `Permanent` that names every argument that is missing, unknown or does not fit.
    """
    taken = {parameter.name: parameter for parameter in parameters}
    values: dict[str, Any] = {}
    wrong = [f"it takes no argument {name!r}" for name in arguments if name not in taken]
    for name, parameter in taken.items():
        if name not in arguments:
            if parameter.default is Parameter.empty:
                wrong.append(f"argument {name!r} is missing")
            continue
        try:
            values[name] = fit(adapters[name], arguments[name])
        except ValidationError as error:
            wrong.append(f"argument {name!r}: {describe(error)}")
    if wrong:
        raise Permanent(f"{who} can't be called: {'; '.join(wrong)}")
    return values


def fit(adapter: TypeAdapter[Any], value: Any) -> Any:
    """A JSON value as its annotation has it: dates, enums, sets and models, as pydantic reads JSON."""
    return values_of(adapter).parse(value)
