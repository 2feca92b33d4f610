"""Stand-ins as the models that Pydantic AI asks: what was given becomes a response, by what it asks for."""

from collections.abc import Generator
from contextlib import contextmanager
from copy import copy
from dataclasses import replace
from typing import Any

from pydantic_ai.messages import ModelMessage, ModelResponse, TextPart, ToolCallPart
from pydantic_ai.models import Model, ModelRequestParameters
from pydantic_ai.settings import ModelSettings
from pydantic_core import to_json

from segue.processors.app.app import App
from segue.processors.payloads.values import jsonable
from segue.processors.routing.routes import ModelCandidate, ModelRoute
from segue.processors.stages.model import conversation
from segue.streams.executors.provider import WRAPPED, as_object
from segue.streams.testing.fakes import StandIns
from segue.topics.records import CallModel


class StandIn(Model):
    """In place of the candidate of that name."""

    def __init__(self, name: str, stand_ins: StandIns) -> None:
        super().__init__()
        self._name = name
        self._stand_ins = stand_ins

    @property
    def model_name(self) -> str:
        return self._name

    @property
    def system(self) -> str:
        return "rehearsal"

    async def request(
        self,
        messages: list[ModelMessage],
        model_settings: ModelSettings | None,
        model_request_parameters: ModelRequestParameters,
    ) -> ModelResponse:
        call, _ = self._stand_ins.serving
        assert isinstance(call, CallModel)
        asked = conversation(call)[0].content if call.agent is None else messages
        given = await self._stand_ins.outcome(asked)
        if isinstance(given, Model):
            return await given.request(messages, model_settings, model_request_parameters)
        if isinstance(given, ModelResponse):
            return given
        said = _answer_part(jsonable(given), _key(call, model_request_parameters), model_request_parameters)
        return ModelResponse(parts=[said], model_name=self._name)


def _key(call: CallModel, asked: ModelRequestParameters) -> str | None:
    """The property that an answer stands in whose type is no object."""
    if call.agent is not None:
        return asked.output_tools[0].outer_typed_dict_key if asked.output_tools else None
    return WRAPPED if call.output is not None and as_object(call.output) is not call.output else None


def _answer_part(value: Any, key: str | None, asked: ModelRequestParameters) -> TextPart | ToolCallPart:
    """A text where an object is asked for is what the model said, and may be no answer."""
    if not asked.output_tools or (isinstance(value, str) and key is None):
        return TextPart(value if isinstance(value, str) else to_json(value).decode())
    return ToolCallPart(asked.output_tools[0].name, {key: value} if key is not None else value)


def shadow_models(app: App, stand_ins: StandIns) -> App:
    """The app with stand-ins in place of the models that have one, or that would be asked by their names."""

    def shadowed(route: ModelRoute, candidate: ModelCandidate, name: str) -> ModelCandidate:
        stays = not isinstance(candidate, str) and stand_ins.find("model", route.name, name) is None
        return candidate if stays else StandIn(name, stand_ins)

    shadow = copy(app)
    shadow.routes = dict(app.routes)
    for route in app.routes.values():
        if isinstance(route, ModelRoute):
            pairs = zip(route.candidates, route.names, strict=True)
            candidates = [shadowed(route, candidate, name) for candidate, name in pairs]
            shadow.routes[route.name] = replace(route, candidates=candidates)
    return shadow


@contextmanager
def agents_stand_in(app: App, stand_ins: StandIns) -> Generator[None]:
    """The app's agents ask a stand-in where they would ask a model by its name, or where one was given."""
    changed = [agent for agent in app.agents.values() if _needs(app, agent.name, stand_ins)]
    for agent in changed:
        agent.stand_in = StandIn(agent.name, stand_ins)
    try:
        yield
    finally:
        for agent in changed:
            agent.stand_in = None


def _needs(app: App, agent: str, stand_ins: StandIns) -> bool:
    named = app.agents[agent].default_model_id is not None
    return named or any(stand_ins.find("model", agent, name) for name in app.model_route(agent).names)
