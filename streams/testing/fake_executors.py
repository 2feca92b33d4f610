"""Who makes the calls of a rehearsal: the product's executors, with stand-ins among what they call."""

from typing import Any

from segue.processors.app.app import App
from segue.processors.payloads.values import jsonable
from segue.processors.stages.reply import Reply
from segue.streams.calls.token_stream import TokenPublisher
from segue.streams.executors import ModelExecutor, ToolExecutor
from segue.streams.testing.fakes import StandIns
from segue.topics.extras import require
from segue.topics.records import CallModel, CallTool


class RehearsedTools(ToolExecutor):
    """The app's own functions run for real where nothing stands in for them; what is elsewhere never does."""

    def __init__(self, app: App, stand_ins: StandIns) -> None:
        super().__init__(stand_ins.shadow_tools(app), lambda _: Elsewhere(stand_ins))
        self._stand_ins = stand_ins

    async def __call__(self, call: CallTool) -> Reply:
        if call.agent is None:
            return await super().__call__(call)
        require("agents")
        from segue.streams.testing.fake_agents import performed

        return Reply(await performed(self._app, call, self._stand_ins), self.candidate(call))


class Elsewhere:
    """In place of an MCP server, or of a service by its OpenAPI document."""

    def __init__(self, stand_ins: StandIns) -> None:
        self._stand_ins = stand_ins

    async def call(self, name: str, arguments: dict[str, Any], key: str, /) -> Any:
        return jsonable(await self._stand_ins.outcome(**arguments))

    async def stop(self) -> None: ...


class RehearsedModels(ModelExecutor):
    """A model that the app has as an object runs for real, unless it would ask a provider."""

    def __init__(self, app: App, stand_ins: StandIns) -> None:
        super().__init__(app)
        self._real = app
        self._stand_ins = stand_ins
        self._has_stand_ins = False

    async def __call__(self, call: CallModel, telling: TokenPublisher | None = None) -> Reply:
        """Pydantic AI is loaded by the first call."""
        require("agents")
        from pydantic_ai.models import override_allow_model_requests

        from segue.streams.testing.fake_models import shadow_models

        if not self._has_stand_ins:
            self._app, self._has_stand_ins = shadow_models(self._real, self._stand_ins), True
        with override_allow_model_requests(False):
            try:
                return await super().__call__(call, telling)
            except RuntimeError as error:
                if "ALLOW_MODEL_REQUESTS" not in str(error):
                    raise
                raise self._stand_ins.missing() from None
