"""What a function's annotations say of its values; one without an annotation may be anything."""

import inspect
from collections.abc import Callable
from typing import Any, get_type_hints

from pydantic import TypeAdapter


def adapter_of(function: Callable[..., Any], name: str) -> TypeAdapter[Any]:
    """Of the parameter of that name, or of what the function gives with the name `return`."""
    return TypeAdapter(get_type_hints(function, include_extras=True).get(name, Any))


def parameters_of(function: Callable[..., Any]) -> dict[str, TypeAdapter[Any]]:
    """Of each parameter, in their order."""
    return {name: adapter_of(function, name) for name in inspect.signature(function).parameters}
