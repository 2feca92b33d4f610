"""What a person gives a workflow, checked before anything is sent."""

from typing import Any

from pydantic import ValidationError

from segue.processors.definitions.workflow import Workflow
from segue.topics import codec
from segue.topics.contracts import STAGES
from segue.topics.errors import BadInput, UnknownName


def ensure_fits(workflow: Workflow[Any, Any], value: Any) -> None:
    try:
        workflow.validate(value)
    except (ValidationError, BadInput) as error:
        raise BadInput(f"the input does not fit workflow {workflow.name!r}: {codec.explain(error)}") from None


def stages_of(given: str | None) -> tuple[str, ...]:
    """The stages that were named, all if none were. Raises `UnknownName`."""
    names = tuple(name.strip() for name in given.split(",")) if given else STAGES
    if unknown := [name for name in names if name not in STAGES]:
        raise UnknownName(f"no stage {unknown[0]!r}: there are {', '.join(STAGES)}")
    return names
