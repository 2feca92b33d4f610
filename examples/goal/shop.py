"""A shop of two dozen services that call one another, as it is at 14:00: one change of today broke it.

What fails below fails above, a little less at each level, so the service that users complain about is seldom
the one to mend. The map, the changes and the fault are in `data/shop.json`; numbers that look drawn follow
from the service and the minute, so that the same question has the same answer.
"""

import hashlib
import json
from dataclasses import dataclass, field
from datetime import time
from math import prod
from pathlib import Path

from pydantic import BaseModel, Field

from .models import Change, Health, LogExcerpt, RolledBack, Services

SOURCE = Path(__file__).parent / "data" / "shop.json"
ENTRY = "storefront"
NOW = time(14)
USUAL = 0.0005
"""The share of requests that fails on a good day."""

PASSED_ON = 0.6
"""How much of what fails below fails the caller: some have retries, or can do without."""

REQUESTS_PER_MINUTE = 240
SAMPLE_MAX = 3


class Fault(BaseModel):
    """A change that goes wrong, not at once: from then on this share of its service's requests fails."""

    change: str
    since: time = Field(alias="from")
    share: float
    error: str


class Plan(BaseModel):
    calls: dict[str, list[str]]
    changes: list[Change]
    fault: Fault


@dataclass
class Shop:
    plan: Plan = field(default_factory=lambda: Plan.model_validate(json.loads(SOURCE.read_text("utf-8"))))
    rolled_back: dict[str, str] = field(default_factory=dict[str, str])
    """By the key under which it was asked for: the change."""

    def services(self) -> Services:
        return Services(entry=ENTRY, calls=self.plan.calls)

    def health(self, service: str) -> Health:
        mended = self.plan.fault.change in self.rolled_back.values()
        return Health(service=service, failing=round(self._failing(service, broken=not mended), 4))

    def log(self, service: str, start: time, end: time) -> LogExcerpt:
        minutes = range(_minute(start), min(_minute(end), _minute(NOW)))
        errors = sum(self._errors(service, minute) for minute in minutes)
        return LogExcerpt(
            service=service,
            start=start,
            end=end,
            requests=REQUESTS_PER_MINUTE * len(minutes),
            errors=errors,
            sample=[self._error(service)] * min(errors, SAMPLE_MAX),
        )

    def changes(self, since: time, until: time) -> list[Change]:
        return [change for change in self.plan.changes if since <= change.at <= until]

    def change(self, name: str) -> Change | None:
        return next((change for change in self.plan.changes if change.id == name), None)

    def roll_back(self, change: Change, key: str) -> RolledBack:
        """The same key again is the same rollback. Raises `ValueError` if it was another's."""
        if self.rolled_back.setdefault(key, change.id) != change.id:
            raise ValueError(f"the key {key!r} is of the rollback of {self.rolled_back[key]}")
        return RolledBack(change=change.id, service=change.service)

    def _failing(self, service: str, *, broken: bool) -> float:
        """A request fails unless the service and all that it can't do without succeed."""
        own = self.plan.fault.share if broken and service == self._faulty else USUAL
        below = (1 - PASSED_ON * self._failing(each, broken=broken) for each in self.plan.calls[service])
        return 1 - (1 - own) * prod(below)

    def _errors(self, service: str, minute: int) -> int:
        broken = minute >= _minute(self.plan.fault.since)
        expected = REQUESTS_PER_MINUTE * self._failing(service, broken=broken)
        return round(expected * (0.7 + 0.6 * _draw(service, minute)))

    def _error(self, service: str) -> str:
        ill = [each for each in self.plan.calls[service] if self._failing(each, broken=True) > 2 * USUAL]
        if service == self._faulty:
            return self.plan.fault.error
        return f"UpstreamError: {ill[0]} answered 503" if ill else "ConnectionReset: by the caller"

    @property
    def _faulty(self) -> str:
        faulty = self.change(self.plan.fault.change)
        assert faulty is not None
        return faulty.service


def _minute(at: time) -> int:
    return at.hour * 60 + at.minute


def _draw(service: str, minute: int) -> float:
    digest = hashlib.sha256(f"{service}|{minute}".encode()).digest()
    return int.from_bytes(digest[:6], "big") / 2**48
