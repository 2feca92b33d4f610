"""What the agents, their tools and the shop say to each other. All of it travels as JSON."""

from datetime import time

from pydantic import BaseModel, ConfigDict, Field

ILL = 0.02
"""A service that fails more of its requests than this is not well."""


class Value(BaseModel):
    model_config = ConfigDict(frozen=True)


class Services(Value):
    """Which services there are, and which others each of them calls. Users come in at `entry`."""

    entry: str
    calls: dict[str, list[str]]


class Health(Value):
    """The share of a service's requests that failed in the last minute, whoever's fault that is."""

    service: str
    failing: float = Field(ge=0, le=1)

    @property
    def ill(self) -> bool:
        return self.failing > ILL


class LogExcerpt(Value):
    """What a service logged from one time of today until before another."""

    service: str
    start: time
    end: time
    requests: int
    errors: int
    sample: list[str] = Field(description="Some of the errors")

    @property
    def ill(self) -> bool:
        return self.errors > ILL * self.requests


class Change(Value):
    id: str
    service: str
    at: time
    what: str


class Changes(Value):
    changes: list[Change]


class RolledBack(Value):
    change: str
    service: str


class Onset(Value):
    """When a service began to fail, and with what. Without an error it never did."""

    service: str
    began: time | None = None
    error: str | None = None


class Incident(Value):
    """What was found, and what was done about it."""

    resolved: bool = Field(description="Whether all is well now")
    affected: list[str] = Field(description="Services that were ill, as they were found")
    cause: str | None = Field(description="The id of the change that did it, if that is known")
    rolled_back: list[str] = Field(description="Ids of all changes that were rolled back, in this order")
    summary: str
