"""What a function's annotations say of its values; one without an annotation may be anything.

Each is looked up by itself: one that only a type checker needs (`task: Task`, imported under
`TYPE_CHECKING`) may stay out of reach. What can't be looked up, or has no JSON, is refused with its place.
"""

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from types import SimpleNamespace
from typing import Any, get_type_hints

from pydantic import TypeAdapter

from segue.processors.payloads.values import adapter_for, values_of
from segue.topics.descriptions import guarded, kind_of, shortened, text_of
from segue.topics.errors import BadInput

REASON_CHARS_MAX = 300


def adapter_of(function: Callable[..., Any], name: str) -> TypeAdapter[Any]:
    """Of the parameter of that name, or of what the function gives with the name `return`.

    Raises `BadInput` with the place in the code.
    """
    annotation = _annotation(function, name)
    try:
        return complete(adapter_for(_hint(function, annotation)))
    except BaseException as error:
        what = "what it returns" if name == "return" else f"parameter {name!r}"
        told = shortened(guarded(lambda: repr(annotation), kind_of(annotation)), REASON_CHARS_MAX)
        raise BadInput(f"{place_of(function)}: {what} is annotated {told}: {why_unusable(error)}") from error


def parameters_of(function: Callable[..., Any]) -> dict[str, TypeAdapter[Any]]:
    """Of each parameter, in their order."""
    return {name: adapter_of(function, name) for name in inspect.signature(function).parameters}


def complete(adapter: TypeAdapter[Any]) -> TypeAdapter[Any]:
    """Raises what pydantic does where a type within refers to one that is not defined."""
    adapter.rebuild()
    return adapter


def why_unusable(error: BaseException) -> str:
    """In words for the one who annotated."""
    if isinstance(error, NameError):
        name = f"{error.name!r}" if error.name else "a name in it"
        return (
            f"{name} is not defined when the app runs: import it outside of `if TYPE_CHECKING:`, or "
            "define it in the module, above the app"
        )
    reason = shortened(text_of(error).partition("\n")[0], REASON_CHARS_MAX)
    return f"JSON can't hold it: {reason}: use a pydantic model, a dataclass, a TypedDict or a built-in type"


def place_of(function: Callable[..., Any]) -> str:
    """`shop/orders.py:12, in orders.ship`."""
    plain = _plain(function)
    code = getattr(plain, "__code__", None)
    name = f"{getattr(plain, '__module__', '?')}.{getattr(plain, '__qualname__', kind_of(function))}"
    return f"{code.co_filename}:{code.co_firstlineno}, in {name}" if code is not None else name


def _annotation(function: Callable[..., Any], name: str) -> Any:
    signature = inspect.signature(function)
    found = signature.return_annotation if name == "return" else signature.parameters[name].annotation
    return Any if found is inspect.Parameter.empty else found


def _hint(function: Callable[..., Any], annotation: Any) -> Any:
    plain = _plain(function)
    named = SimpleNamespace(
        __annotations__={"it": annotation}, __type_params__=getattr(plain, "__type_params__", ())
    )
    return get_type_hints(named, getattr(plain, "__globals__", {}), include_extras=True)["it"]


def _plain(function: Callable[..., Any]) -> Any:
    """The function that was written, under decorators, in a partial, or in an object that can be called."""
    while isinstance(function, partial):
        function = function.func
    plain: object = inspect.unwrap(function)
    if hasattr(plain, "__code__") or hasattr(plain, "__func__"):
        return plain
    return getattr(type(plain), "__call__", plain)  # noqa: B004 - the method of an object that can be called


@dataclass(frozen=True, slots=True)
class Accept:
    """How a JSON value becomes what the workflow gets.

    `judge` says what its type makes of one that comes from outside, as JSON; None where it was validated
    before. `read` makes the value of that. Both raise `ValidationError` or `BadInput`.
    """

    read: Callable[[Any], Any]
    judge: Callable[[Any], Any] | None = None


def accept(adapter: TypeAdapter[Any], *, validated: bool = False) -> Accept | None:
    """How values of the adapter's type are accepted; None where anything will do."""
    values = values_of(adapter)
    if values.takes_anything:
        return None
    return Accept(values.read, None if validated else values.validate)
