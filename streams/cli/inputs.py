"""What a person gives a workflow, checked before anything is sent."""

from typing import Any

from pydantic import ValidationError

from segue.processors.definitions.workflow import Workflow
from segue.topics import codec
from segue.topics.errors import BadInput


def ensure_fits(workflow: Workflow[Any, Any], value: Any) -> None:
    try:
        workflow.validate(value)
    except (ValidationError, BadInput) as error:
        raise BadInput(f"the input does not fit workflow {workflow.name!r}: {codec.explain(error)}") from None
