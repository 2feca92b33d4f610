"""How a JSON value from outside becomes what the workflow asked for: a type, an option, or either."""

from collections.abc import Mapping
from typing import Any

from segue.processors.payloads.blob import taken, unmarked
from segue.processors.payloads.options import option_with
from segue.processors.payloads.schemas import schema_of
from segue.processors.payloads.type_adapters import Accept, accept
from segue.processors.workflow.misuse import adapter_of
from segue.topics.errors import BadInput
from segue.topics.records import Option


def shape_of(output: Any) -> tuple[Accept | None, dict[str, Any]]:
    """How a JSON value becomes one of that type, and the JSON schema that says so."""
    adapter = adapter_of("output=, answer= or a signal's value", Any if output is object else output)
    return accept(adapter), schema_of(adapter)


def answer_of(
    offered: tuple[Option, ...], options: Mapping[str, Any] | None, answer: Any
) -> tuple[Accept, dict[str, Any] | None]:
    """What reads an answer, and the JSON schema of one that is no option, where there may be such."""
    if options and answer is None:
        return _choice(offered, list(options.values())), None
    other, schema = shape_of(str if answer is None else answer)
    other = other or Accept(taken)
    return (_choice(offered, list(options.values()), other) if options else other), schema


def _choice(options: tuple[Option, ...], values: list[Any], other: Accept | None = None) -> Accept:
    """One of the options, by its value or else by its label; what is none of them goes to `other`."""
    by_label = {option.label: value for option, value in zip(options, values, strict=True)}

    def chosen(answer: Any) -> str | None:
        if option := option_with(unmarked(answer), options):
            return option.label
        return answer if isinstance(answer, str) and answer in by_label else None

    def read(answer: Any) -> Any:
        if (label := chosen(answer)) is not None:
            return by_label[label]
        if other is not None:
            return other.read(answer)
        raise BadInput(f"{answer!r} is none of the options: {', '.join(by_label)}")

    def judge(answer: Any) -> Any:
        if other is None or other.judge is None or chosen(answer) is not None:
            return answer
        return other.judge(answer)

    return Accept(read, judge)
