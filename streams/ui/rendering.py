"""What templates are given, and how they say it: every value is escaped, whoever wrote it."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from importlib.resources import files
from typing import Any, NamedTuple, cast
from urllib.parse import quote, urlencode

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup
from pydantic_core import to_json

from segue.processors.formatting import duration, headline, preview, usd
from segue.processors.views.descriptions import (
    answer_line,
    duration_ms_of,
    mark_of,
    outcome_line,
    spent_line,
    standing,
)
from segue.processors.views.steps import label_of
from segue.processors.views.timeline import Timeline
from segue.processors.views.timeline_events import DEADLINE, Step
from segue.streams.client.local_time import clock, moment_of
from segue.streams.ui.forms import fields_of
from segue.topics.parts import Spent
from segue.topics.records import ENDED, Question, Status

VALUE_CHARS_MAX = 6_000
"""Of a value on the page: `segue show -o json` has it whole."""

STEPS_MAX = 200
"""On one page: more are turned over."""


class RejectedAnswer(NamedTuple):
    """A form that was not accepted: what was filled in, and why not."""

    task: str
    step: int | None
    why: str
    form: Mapping[str, str]


@dataclass
class TaskView:
    """All that the page of a task shows. `before`: only steps before that one, which others follow."""

    timeline: Timeline
    status: Status
    children: Sequence[Status] = ()
    asking: int = 0
    """How many questions all tasks ask."""
    refused: RejectedAnswer | None = None
    run: int | None = None
    before: int | None = None
    written: dict[int, str] = field(default_factory=dict[int, str])

    @property
    def open(self) -> bool:
        return not self.timeline.ended and self.status.state not in ENDED

    @property
    def state(self) -> str:
        """The status may be told before the last of the records that caused it, and after."""
        return self.timeline.state if self.timeline.ended or self.run is not None else self.status.state

    @property
    def steps(self) -> list[Step]:
        return self._listed_steps[-STEPS_MAX:]

    @property
    def earlier(self) -> int:
        """How many steps there are before those that are shown."""
        return max(0, len(self._listed_steps) - STEPS_MAX)

    def turned_to(self, before: int | None) -> str:
        """Where the steps before that one are, or the latest."""
        query = {"run": self.run, "before": before}
        return task_url(self.timeline.task, **{name: at for name, at in query.items() if at is not None})

    @property
    def _listed_steps(self) -> list[Step]:
        """A question's deadline is told with the question."""
        told = [step for step in self.timeline.in_order if step.name != DEADLINE]
        return told if self.before is None else [step for step in told if step.number < self.before]


def refused_here(refused: RejectedAnswer | None, question: Question) -> RejectedAnswer | None:
    """Of this very question."""
    if refused is not None and (refused.task, refused.step) == (question.task, question.step):
        return refused
    return None


def task_url(task: str, **query: Any) -> str:
    """Any id is a path but those two, which browsers take for folders."""
    if task in (".", ".."):
        return f"/tasks/?{urlencode({'id': task} | query)}"
    return f"/tasks/{quote(task, safe='')}" + (f"?{urlencode(query)}" if query else "")


def key_of(*parts: object) -> str:
    """An id for an element, whatever characters its parts have."""
    return "k" + hashlib.sha256("\0".join(map(str, parts)).encode()).hexdigest()[:16]


def _json(value: Any) -> str:
    """Text as text, all else as JSON with its lines."""
    text = value if isinstance(value, str) else to_json(value, indent=2, fallback=repr).decode()
    more = len(text) - VALUE_CHARS_MAX
    return text if more <= 0 else f"{text[:VALUE_CHARS_MAX]}\n… {more:,} characters more"


def _time(at_ms: int) -> Markup:
    """Whole as it is served; the page's script says how long ago that is."""
    return Markup('<time data-ms="{}" title="{}">{}</time>').format(at_ms, moment_of(at_ms), moment_of(at_ms))


def _running_since(step: Step) -> int | None:
    attempt = step.last_attempt
    if step.outcome not in ("running", "waiting"):
        return None
    return attempt.started_ms if attempt and attempt.started_ms else step.started_ms


@cache
def version_of_static() -> str:
    """Another one for other contents, so that browsers may keep what they have."""
    static = files("segue.streams.ui") / "static"
    contents = b"".join(each.read_bytes() for each in sorted(static.iterdir(), key=lambda file: file.name))
    return hashlib.sha256(contents).hexdigest()[:12]


@cache
def environment(*, read_only: bool) -> Environment:
    made = Environment(
        loader=PackageLoader("segue.streams.ui"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters |= {
        "clock": clock,
        "duration": duration,
        "headline": headline,
        "json": _json,
        "moment": moment_of,
        "preview": preview,
        "spent": spent_line,
        "standing": standing,
        "time": _time,
        "usd": usd,
    }
    cast("dict[str, Any]", made.globals).update(
        Spent=Spent,
        fields_of=fields_of,
        key_of=key_of,
        refused_here=refused_here,
        answer_line=answer_line,
        label_of=label_of,
        mark_of=mark_of,
        outcome_line=outcome_line,
        read_only=read_only,
        running_since=_running_since,
        task_url=task_url,
        duration_ms_of=duration_ms_of,
        version=version_of_static(),
    )
    return made
