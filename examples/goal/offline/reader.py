"""Finds the minute in which a log turns bad, by halving: a log of a day takes a dozen looks."""

from datetime import time

from pydantic_ai.messages import ModelMessage, ModelResponse
from pydantic_ai.models.function import AgentInfo, FunctionModel

from ..models import LogExcerpt, Onset
from .conversation import answer, call, prompt, returned

MORNING, NOW = 0, 14 * 60
"""In minutes of the day: what the log is of."""


def reader_model() -> FunctionModel:
    return FunctionModel(_next, model_name="offline-log-reader")


def _next(messages: list[ModelMessage], info: AgentInfo) -> ModelResponse:
    service = _service(prompt(messages))
    looks = [LogExcerpt.model_validate(each.value) for each in returned(messages) if each.value]
    if not looks:
        return call("search_log", _minute(service, MORNING), _minute(service, NOW - 1))
    ill = [look for look in looks if look.ill]
    well = max((_of(look.start) for look in looks if not look.ill), default=MORNING - 1)
    if not ill:
        return answer(info, Onset(service=service))
    first = min(ill, key=lambda look: look.start)
    if _of(first.start) - well <= 1:
        return answer(info, Onset(service=service, began=first.start, error=first.sample[0]))
    return call("search_log", _minute(service, (well + _of(first.start)) // 2))


def _service(asked: str) -> str:
    """The question is `When did SERVICE begin to fail …`."""
    return asked.partition("When did ")[2].partition(" begin")[0]


def _minute(service: str, minute: int) -> dict[str, str]:
    start, end = (time(each // 60, each % 60).isoformat() for each in (minute, minute + 1))
    return {"service": service, "start": start, "end": end}


def _of(at: time) -> int:
    return at.hour * 60 + at.minute
