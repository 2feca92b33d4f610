"""Decides the next step of an incident from what is known by now.

services ─▶ health, from the entry down along what is ill ─▶ the deepest that is ill, and calls nothing ill
─▶ its log ─▶ what was changed before it began ─▶ roll back the likeliest ─▶ did it help? ─▶ … ─▶ report
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

from pydantic_ai.messages import ModelMessage, ModelResponse
from pydantic_ai.models.function import AgentInfo, FunctionModel

from ..models import Change, Changes, Health, Incident, Onset, RolledBack, Services
from .conversation import Returned, answer, call, returned

SINCE = "00:00:00"


def on_call_model() -> FunctionModel:
    return FunctionModel(_next, model_name="offline-on-call")


@dataclass
class Known:
    """What the tools have said. A health that was read before the last rollback is out of date."""

    services: Services | None = None
    health: dict[str, Health] = field(default_factory=dict[str, Health])
    fresh: set[str] = field(default_factory=set[str])
    affected: list[str] = field(default_factory=list[str])
    onset: Onset | None = None
    changes: list[Change] | None = None
    rolled_back: list[str] = field(default_factory=list[str])
    refused: set[str] = field(default_factory=set[str])

    def learn(self, each: Returned) -> None:
        match each.tool:
            case "roll_back" if each.value is None:
                self.refused.add(each.arguments["change"])
            case "roll_back":
                self.rolled_back.append(RolledBack.model_validate(each.value).change)
                self.fresh.clear()
            case _ if each.value is None:
                return
            case "services":
                self.services = Services.model_validate(each.value)
            case "health":
                self._see(Health.model_validate(each.value))
            case "find_onset":
                self.onset = Onset.model_validate(each.value)
            case "changes":
                self.changes = Changes.model_validate(each.value).changes
            case _:
                return

    def _see(self, health: Health) -> None:
        self.health[health.service] = health
        self.fresh.add(health.service)
        if health.ill and health.service not in self.affected:
            self.affected.append(health.service)

    def calls(self, service: str) -> list[str]:
        return self.services.calls.get(service, []) if self.services else []

    def suspects(self) -> list[Change]:
        """Changes of the service that it began in, before it began: the latest first."""
        if self.onset is None or self.onset.began is None:
            return []
        began = self.onset.began
        before = [c for c in self.changes or [] if c.service == self.onset.service and c.at <= began]
        return sorted(before, key=lambda change: change.at, reverse=True)


def known(messages: Sequence[ModelMessage]) -> Known:
    by_now = Known()
    for each in returned(messages):
        by_now.learn(each)
    return by_now


def _next(messages: list[ModelMessage], info: AgentInfo) -> ModelResponse:
    by_now = known(messages)
    if by_now.services is None:
        return call("services", {})
    if unseen := _unseen(by_now):
        return call("health", *({"service": service} for service in unseen))
    if not by_now.affected:
        return answer(info, _report(by_now))
    if by_now.onset is None:
        return call("find_onset", {"service": _origin(by_now)})
    if by_now.changes is None and by_now.onset.began is not None:
        return call("changes", {"since": SINCE, "until": by_now.onset.began.isoformat()})
    return _mend(by_now, info)


def _mend(by_now: Known, info: AgentInfo) -> ModelResponse:
    """One change at a time; each is judged by the service that it began in, then by all that were ill."""
    assert by_now.onset is not None
    origin = by_now.onset.service
    if origin not in by_now.fresh:
        return call("health", {"service": origin})
    if by_now.health[origin].ill:
        if suspect := next((c for c in by_now.suspects() if not _tried(by_now, c)), None):
            return call("roll_back", {"change": suspect.id, "reason": _reason(suspect, by_now.onset)})
    elif stale := [service for service in by_now.affected if service not in by_now.fresh]:
        return call("health", *({"service": service} for service in stale))
    return answer(info, _report(by_now))


def _unseen(by_now: Known) -> list[str]:
    """What has to be looked at: the entry, then whatever is called by something that is ill."""
    assert by_now.services is not None
    below = [below for service in by_now.affected for below in by_now.calls(service)]
    wanted = dict.fromkeys([by_now.services.entry, *below])
    return [service for service in wanted if service not in by_now.health]


def _origin(by_now: Known) -> str:
    """The one that is ill without anything ill below; of several, the worst."""
    origins = [s for s in by_now.affected if not any(below in by_now.affected for below in by_now.calls(s))]
    return max(origins, key=lambda service: by_now.health[service].failing)


def _tried(by_now: Known, change: Change) -> bool:
    return change.id in by_now.rolled_back or change.id in by_now.refused


def _reason(suspect: Change, onset: Onset) -> str:
    return (
        f"{onset.service} fails since {onset.began:%H:%M} ({onset.error}), "
        f"and this was changed at {suspect.at:%H:%M}: {suspect.what}"
    )


def _report(by_now: Known) -> Incident:
    well = not any(by_now.health[service].ill for service in by_now.affected)
    cause = by_now.rolled_back[-1] if well and by_now.rolled_back else None
    return Incident(
        resolved=well,
        affected=by_now.affected,
        cause=cause,
        rolled_back=by_now.rolled_back,
        summary=_summary(by_now, cause),
    )


def _summary(by_now: Known, cause: str | None) -> str:
    if by_now.onset is None or not by_now.affected:
        return "Every service that users reach is well."
    began = f"{by_now.onset.began:%H:%M}" if by_now.onset.began else "before today"
    found = f"It began in {by_now.onset.service} at {began}: {by_now.onset.error or 'no error is logged'}."
    if cause is not None:
        return f"{found} Rolling back {cause} mended it."
    return f"{found} No change that may be rolled back accounts for it: a person is needed."
