"""What a client is told that it can call: name, description, input schema and output schema of each tool.

An input that is an object gives the tool its arguments; any other is one argument, named as the workflow
names it. A result must be an object in MCP, so any other stands under `result`.
"""

import inspect
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from mcp_types import Tool
from pydantic import TypeAdapter, ValidationError

from segue.processors.app.app import App
from segue.processors.definitions.workflow import OURS, Workflow
from segue.processors.payloads.values import values_of
from segue.topics.codec import explain
from segue.topics.errors import BadInput
from segue.topics.parts import ABSENT

TASK_ID = "task_id"

RESULT, ANSWER, CANCEL = "segue_result", "segue_answer", "segue_cancel"

Schema = dict[str, Any]

_NAMED: Schema = {
    "type": "string",
    "minLength": 1,
    "maxLength": 200,
    "description": "An id for this task, so that you can call again: the same id returns the result of the "
    "same task, and starts no second one. Without an id, the task is cancelled when its call is.",
}
_KNOWN: Schema = {"type": "string", "description": "The id of the task."}


@dataclass(frozen=True)
class Offer:
    """A workflow as a tool."""

    workflow: Workflow[Any, Any]

    @cached_property
    def tool(self) -> Tool:
        return Tool(
            name=self.workflow.name,
            description=inspect.getdoc(self.workflow.function) or f"Runs the workflow {self.workflow.name}.",
            input_schema=self._arguments,
            output_schema=self._result,
        )

    def input_of(self, arguments: dict[str, Any]) -> Any:
        """The workflow's input as a JSON value. Raises `BadInput` naming what does not fit."""
        given = {name: value for name, value in arguments.items() if name != TASK_ID}
        if not self.workflow.takes_input:
            self._refuse_all_but(set(), given)
            return None
        if self._only is None:
            value: Any = given
        else:
            self._refuse_all_but({self._only}, given)
            value = given.get(self._only, ABSENT if self.workflow.has_default else None)
        if not given and self.workflow.has_default:
            return ABSENT
        try:
            self.workflow.validate(value)
        except (ValidationError, BadInput) as error:
            raise BadInput(f"the arguments do not fit {self.workflow.name}: {explain(error)}") from None
        return value

    def _refuse_all_but(self, taken: set[str], given: dict[str, Any]) -> None:
        if unknown := sorted(given.keys() - taken):
            raise BadInput(f"{self.workflow.name} takes no argument {unknown[0]!r}")

    def structured(self, value: Any) -> Any:
        return value if self._returns_object else {"result": value}

    @cached_property
    def _only(self) -> str | None:
        """The one argument that the whole input is, unless the input is an object of arguments."""
        schema = _schema(self.workflow.input, "validation")
        if schema.get("type") == "object" and TASK_ID not in schema.get("properties", {TASK_ID: {}}):
            return None
        assert self.workflow.parameter is not None
        name = self.workflow.parameter.name
        return "input" if name == TASK_ID else name

    @cached_property
    def _arguments(self) -> Schema:
        if not self.workflow.takes_input:
            return {"type": "object", "properties": {TASK_ID: _NAMED}}
        schema, needed = _schema(self.workflow.input, "validation"), True
        if self.workflow.has_default:
            schema, needed = schema | {"default": self.workflow.given(ABSENT)}, False
        if self._only is None:
            required: list[str] = schema.get("required", []) if needed else []
            return schema | {"required": required} | {"properties": schema["properties"] | {TASK_ID: _NAMED}}
        return _object({self._only: schema}, [self._only] if needed else [], {TASK_ID: _NAMED})

    @cached_property
    def _result(self) -> Schema:
        schema = _schema(self.workflow.output, "serialization")
        return schema if self._returns_object else _object({"result": schema}, ["result"]) | WRAPPED

    @cached_property
    def _returns_object(self) -> bool:
        return _schema(self.workflow.output, "serialization").get("type") == "object"


WRAPPED: Schema = {"x-fastmcp-wrap-result": True}
"""How FastMCP says that `result` is all there is: clients that know it, Segue's own too, unwrap it."""


def offers_of(app: App) -> dict[str, Offer]:
    """Return the newest version of each workflow. Raise `BadInput` if one has the name of one of Segue's
    tools."""
    names = {name for name, _ in app.workflows if not name.startswith(OURS)}
    if taken := sorted(names & {RESULT, ANSWER, CANCEL}):
        raise BadInput(f"workflow {taken[0]!r} has the name of one of Segue's own tools: rename the workflow")
    return {name: Offer(app.workflow(name)) for name in sorted(names)}


def tools_for_tasks() -> list[Tool]:
    """Return three tools for tasks with a known id, for clients that lost a call or can't show a form."""
    step: Schema = {"type": "integer", "description": "The step of the question, if the task asks several."}
    reason: Schema = {"type": "string", "description": "What the task is told."}
    return [
        Tool(
            name=RESULT,
            description="Waits for a task that was started before, and returns its result.",
            input_schema=_object({TASK_ID: _KNOWN}, [TASK_ID]),
        ),
        Tool(
            name=ANSWER,
            description="Answers a task's question, with an option's label or any value that fits.",
            input_schema=_object({TASK_ID: _KNOWN, "answer": {}}, [TASK_ID, "answer"], {"step": step}),
        ),
        Tool(
            name=CANCEL,
            description="Cancels a task. It may clean up before it ends.",
            input_schema=_object({TASK_ID: _KNOWN}, [TASK_ID], {"reason": reason}),
        ),
    ]


def _schema(adapter: TypeAdapter[Any], mode: Any) -> Schema:
    return values_of(adapter).json_schema if mode == "validation" else adapter.json_schema(mode=mode)


def _object(properties: Schema, required: list[str], optional: Schema | None = None) -> Schema:
    """An object of these. What a property's schema refers to stands at the root, where `#/$defs` points."""
    defined: Schema = {}
    own: Schema = {}
    for name, schema in properties.items():
        defined |= schema.get("$defs", {})
        own[name] = {key: value for key, value in schema.items() if key != "$defs"}
    whole: Schema = {"type": "object", "properties": own | (optional or {}), "required": required}
    return whole | ({"$defs": defined} if defined else {})
