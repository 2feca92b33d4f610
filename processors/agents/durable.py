"""Pydantic AI agents in workflows: each model request and each tool call is a step of the task.

An agent runs in the workflow's own event loop, like other code of the workflow, and a replay repeats its
decisions. Its external operations (a request to its model, a call of a function tool or an MCP tool, the
listing of a server's tools) are published as commands like other calls, and the same agent performs them in
the stage `model` or `tool`:

    agent.run(…) in conduct ─┬▶ model-calls ─▶ model   route `NAME`: its model, then the fallbacks
                             └▶ tool-calls  ─▶ tool    routes `NAME.TOOL`, and `NAME.TOOLSET` for MCP servers

Outside of a workflow the agent does not change. This module is imported only if an app has an agent, because
Pydantic AI is large.
"""

import asyncio
from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import datetime
from typing import Any, cast

from pydantic_ai._utils import disable_threads
from pydantic_ai.agent import AbstractAgent, Agent, EventStreamHandler
from pydantic_ai.capabilities.abstract import WrapRunHandler
from pydantic_ai.durable_exec import BaseDurabilityCapability, conversation_id_from_run_id
from pydantic_ai.messages import ToolCallPart
from pydantic_ai.models import Model, ModelResolutionContext
from pydantic_ai.models.instrumented import InstrumentedModel
from pydantic_ai.run import AgentRunResult
from pydantic_ai.tools import AgentDepsT, DeferredToolRequests, DeferredToolResults, RunContext, ToolDenied

from segue.processors.agents import clock
from segue.processors.agents.model_requests import HEARER, as_asked
from segue.processors.agents.operations import Operations
from segue.processors.agents.serialization import SPEC
from segue.processors.formatting import preview
from segue.processors.routing.policy import Policy
from segue.processors.routing.routes import AgentTool, AnyRoute, ModelCandidate, ModelRoute, ToolRoute
from segue.processors.routing.selection import Chooser
from segue.processors.workflow.context import CURRENT_CONTEXT
from segue.processors.workflow.task import CURRENT_TASK
from segue.topics.errors import BadInput

clock.install()


class Durable(BaseDurabilityCapability[AgentDepsT]):
    """Makes an agent durable: `Agent("openai:gpt-5-mini", name="guide", capabilities=[Durable()])`.

    `fallbacks` are models that are called in order when the agent's own model gives up under `policy`.
    `models` maps names to `Model` objects that a run may use in place of the agent's own model: `agent.run(…,
    model="NAME")`. `tool_policy` applies to the agent's tools, and `policies` to single tools by name, or to
    toolsets by id. `inline` names tools that run in the workflow, because everything that they await is
    durable itself, for example a sub-agent. `approver` is the person whom a question of the task asks whether
    a tool that needs approval may be called. `choose` sets the order of the models for each request: see
    `segue.processors.routing.selection`. With `stream=True` people can watch the text of the models during
    each run; runs that stream themselves (`run_stream` and similar) can always be watched.
    """

    engine_spec = SPEC

    def __init__(
        self,
        *,
        fallbacks: Sequence[ModelCandidate] = (),
        models: Mapping[str, Model] | None = None,
        policy: Policy = Policy(),
        tool_policy: Policy = Policy(),
        policies: Mapping[str, Policy] | None = None,
        inline: Collection[str] = (),
        approver: str | None = None,
        choose: Chooser | None = None,
        stream: bool = False,
        name: str | None = None,
    ) -> None:
        instances = {s.model_name: cast("Model", s) for s in fallbacks if not isinstance(s, str)}
        super().__init__(models={**instances, **(models or {})}, name=name)
        self.fallbacks = [s if isinstance(s, str) else s.model_name for s in fallbacks]
        self.policy = policy
        self.tool_policy = tool_policy
        self.policies = dict(policies or {})
        self.inline = frozenset(inline)
        self.approver = approver
        self.choose = choose
        self.stream = stream
        self.stand_in: Model | None = None
        """In a rehearsal, this model answers in place of all models of the agent, and none of those is
        created."""
        self._operations: Operations | None = None

    def _bind_to_agent(self, agent: AbstractAgent[AgentDepsT, Any]) -> None:
        self._operations = Operations(self.name, self.inline, lambda: self.agent)
        self._models_by_id = {
            name: _without_instrumentation(model) for name, model in self._models_by_id.items()
        }
        super()._bind_to_agent(agent)

    def get_durable_operation_backend(self) -> "Operations":
        assert self._operations is not None
        return self._operations

    # ------------------------------------------------------------ what the app declares for it

    def routes(self) -> list[AnyRoute]:
        """Return the routes of its model, of each function tool, and of each other toolset."""
        asked = cast("list[ModelCandidate]", [self.own_model, *self.fallbacks])
        routes: list[AnyRoute] = [
            ModelRoute(self.name, asked, policy=self.policy, choose=self.choose, stream=self.stream)
        ]
        for name in sorted(self.get_durable_operation_backend().tools()):
            policy = self.policies.get(name, self.tool_policy)
            routes.append(ToolRoute(f"{self.name}.{name}", [AgentTool(f"{self.name}.{name}")], policy=policy))
        return routes

    @property
    def own_model(self) -> str:
        own = self._models_by_id.get("default")
        return self.default_model_id or (own.model_id if own is not None else "default")

    @property
    def models(self) -> list[Model | str | None]:
        """Return the models that it may call, except those that are only created for a request."""
        return [self.agent.model if self.agent else None, *self._models_by_id.values()]

    # ------------------------------------------------------------ a request, in the model's stage

    async def resolve_model_id(
        self, ctx: ModelResolutionContext[AgentDepsT], *, model_id: str
    ) -> Model | None:
        return self.stand_in or await super().resolve_model_id(ctx, model_id=model_id)

    def get_wrapper_model(self, model: Model) -> Model | None:
        return as_asked(self.stand_in or model)

    def _model_stream_event_handler(self) -> EventStreamHandler[AgentDepsT] | None:
        return HEARER.get()

    # ------------------------------------------------------------ the run, within a workflow

    @property
    def in_durable_context(self) -> bool:
        return CURRENT_CONTEXT.get(None) is not None

    def get_default_run_id(self) -> str | None:
        return CURRENT_TASK.get().uuid() if self.in_durable_context else None

    def get_default_conversation_id(self, run_id: str) -> str | None:
        return conversation_id_from_run_id(run_id) if self.in_durable_context else None

    def get_run_clock(self) -> Callable[[], datetime] | None:
        return CURRENT_TASK.get().now if self.in_durable_context else None

    async def wrap_run(self, ctx: RunContext[AgentDepsT], *, handler: WrapRunHandler) -> AgentRunResult[Any]:
        """Run the agent. In a workflow it uses no threads, and it sleeps by the task's timers."""
        if not self.in_durable_context:
            return await handler()
        if ctx.usage_limits is not None and ctx.usage_limits.count_tokens_before_request:
            raise BadInput(
                f"agent {self.name!r}: count_tokens_before_request can't be used in a workflow: it would "
                "call the provider outside of a step. Leave it out: usage limits then count the tokens "
                "that responses report, and the task's budget is checked before each request"
            )
        with disable_threads(), Agent.using_sleep(asyncio.sleep):
            return await super().wrap_run(ctx, handler=handler)

    async def handle_deferred_tool_calls(
        self, ctx: RunContext[AgentDepsT], *, requests: DeferredToolRequests
    ) -> DeferredToolResults | None:
        """Ask the approver about all calls at the same time, and wait for the answers."""
        if self.approver is None or not self.in_durable_context or not requests.approvals:
            return None
        answers = await asyncio.gather(*map(self._approved, requests.approvals))
        decided = zip(requests.approvals, answers, strict=True)
        return DeferredToolResults(
            approvals={
                call.tool_call_id: True if yes else ToolDenied("The approver refused the call.")
                for call, yes in decided
            }
        )

    async def _approved(self, call: ToolCallPart) -> bool:
        assert self.approver is not None
        text = f"May {self.name} call {call.tool_name} with {preview(call.args_as_dict())}?"
        return await CURRENT_TASK.get().ask(self.approver, text, options={"approve": True, "refuse": False})


def _without_instrumentation(model: Model) -> Model:
    """Return the model without instrumentation, since each run adds its own."""
    while isinstance(model, InstrumentedModel):
        model = model.wrapped
    return model


def durable_of(agent: Any) -> Durable[Any]:
    """Return the `Durable` capability of the agent. Raises `BadInput` if it has none."""
    durable = Durable[Any].from_agent(agent)
    if durable is None:
        raise BadInput(f"agent {agent.name!r} is not durable: build it with capabilities=[Durable()]")
    if getattr(agent, "_concurrency_limiter", None) is not None:
        raise BadInput(
            f"agent {agent.name!r} has max_concurrency, which a workflow can't use: its runs would wait "
            "for each other in one worker's memory, and a replay could not repeat that. Leave it out, "
            "and limit the agent's model on all workers: App(…, "
            f"limits={{{durable.own_model!r}: Limit(concurrent=2)}})"
        )
    return durable


def ensure_not_overridden(agents: "Mapping[str, Durable[Any]]") -> None:
    """Raise `BadInput` inside `Agent.override`: workflows run in contexts of their own.

    A workflow could not see the override, because the value of a context variable is not in the task's log.
    """
    for name, durable in agents.items():
        held = {key: value for key, value in vars(durable.agent).items() if key.startswith("_override_")}
        changed = sorted(key.removeprefix("_override_") for key, value in held.items() if value.get(None))
        if changed:
            raise BadInput(
                f"agent {name!r} is overridden here ({', '.join(changed)}), but workflows run in their "
                "own context and do not see Agent.override. Remove it, and set the answers of its model "
                f"with Rehearsal(app, models={{{name!r}: …}})"
            )
