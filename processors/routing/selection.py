"""Who of a route's candidates is called first, and who after that: chosen once for each step, on the record.

    ModelRoute("rank", [small, large], choose=cheapest())

A chooser is a plain function of the call and of what is known of each candidate. It gives names: the first
is called, the next if that one gives up, and those that it leaves out are not called at all. One name alone
leaves the others behind it, in the route's order.

The choice is made in the stage that makes the call, and published with its reason before the call is made: a
worker that dies in between finds it again, and retries, reroutes and replays go by it.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from pydantic_core import to_json

from segue.topics.errors import BadInput
from segue.topics.parts import Choice, Circuit
from segue.topics.records import CallModel, CallTool

CHARACTERS_PER_TOKEN = 4
"""Of English, roughly. Only a model's own tokenizer counts exactly, and there is one for each."""

FAILING_SHARE = 0.5
"""A candidate that fails more often than not goes behind those that do not."""

REASON_CHARS_MAX = 500


class CallInfo(NamedTuple):
    """A call whose candidate is to be chosen. `tokens` is an estimate of what a model would read.

    `input` is the prompt of a model, the arguments of a tool, or what an agent's operation is given.
    """

    task: str
    workflow: str
    route: str
    input: Any
    tokens: int


@dataclass(frozen=True)
class CandidateStats:
    """What is known of a candidate; None where nothing is.

    `usd` is what this very call would cost, by estimate; `latency_s` the median of late, `failure_share` the
    part of late attempts that failed, `circuit` whether calls should go there at all.
    """

    name: str
    usd: float | None = None
    latency_s: float | None = None
    failure_share: float | None = None
    circuit: Circuit | None = None

    @property
    def is_well(self) -> bool:
        return self.circuit != "open" and (self.failure_share or 0.0) <= FAILING_SHARE


class Selection(NamedTuple):
    """Names, the first one first, and why."""

    names: Sequence[str]
    reason: str


Pick = str | Sequence[str] | Selection
Chooser = Callable[[CallInfo, Sequence[CandidateStats]], Pick]


def call_info_of(call: CallModel | CallTool, size_bytes: int | None = None) -> CallInfo:
    """`size_bytes` where the input stands elsewhere, and only its reference is in the call."""
    given = call.arguments if isinstance(call, CallTool) else call.prompt
    spoken = [given, getattr(call, "instructions", None)]
    if call.agent is not None:
        given = call.agent.body | {name: list(pieces) for name, pieces in call.agent.large.items()}
        spoken = [given.get("messages", given)]
    size = size_bytes if size_bytes is not None else len(to_json(spoken))
    return CallInfo(call.task, call.workflow, call.route, given, size // CHARACTERS_PER_TOKEN)


def selection_of(choose: Chooser, asked: CallInfo, known: Sequence[CandidateStats]) -> Choice:
    """Raises `BadInput` for a pick that is none; whatever else the user's function raises passes."""
    by = name_of(choose)
    pick = choose(asked, known)
    if isinstance(pick, Selection):
        picked, reason = pick
    else:
        picked, reason = pick, f"{by} chose"
    names = [each.name for each in known]
    order = [picked, *(name for name in names if name != picked)] if isinstance(picked, str) else [*picked]
    unknown = [name for name in order if name not in names]
    if unknown or not order:
        what = f"{unknown[0]!r}" if unknown else "nobody"
        raise BadInput(
            f"choose={by} picked {what} for route {asked.route!r}; its candidates are: {', '.join(names)}"
        )
    numbers = tuple(dict.fromkeys(names.index(name) for name in order))
    return Choice(order=numbers, by=by, reason=reason[:REASON_CHARS_MAX])


def name_of(choose: Chooser) -> str:
    return str(getattr(choose, "__name__", type(choose).__name__))


# ---------------------------------------------------------------- choosers


def cheapest() -> Chooser:
    """By what this call would cost, those without a known price last. Who fails now goes behind them."""

    def cheapest(asked: CallInfo, known: Sequence[CandidateStats]) -> Selection:
        return _by(known, lambda each: each.usd, f"for about {asked.tokens:,} tokens", _usd)

    return cheapest


def fastest() -> Chooser:
    """By their median latency of late. One that was not called of late goes first, and so is measured."""

    def fastest(_: CallInfo, known: Sequence[CandidateStats]) -> Selection:
        return _by(known, lambda each: each.latency_s, "in the median", _seconds, unknown_first=True)

    return fastest


def healthiest() -> Chooser:
    """In the route's order, with those behind whose circuit is open or who fail more often than not."""

    def healthiest(_: CallInfo, known: Sequence[CandidateStats]) -> Selection:
        unwell = [each for each in known if not each.is_well]
        order = sorted(known, key=lambda each: not each.is_well)
        return Selection(
            [each.name for each in order], _why_not(unwell) or "no candidate fails: the route's order"
        )

    return healthiest


def by_size(tokens: int, small: Any, large: Any) -> Chooser:
    """`small` first for what a model reads in at most so many tokens; beyond that `large`, and `small` not
    at all.

    Both are candidates of the route, or their names; its other candidates come behind them.
    """
    names = _named(small), _named(large)

    def by_size(asked: CallInfo, known: Sequence[CandidateStats]) -> Selection:
        fits = asked.tokens <= tokens
        first, other = names if fits else names[::-1]
        how = "at most" if fits else "more than"
        rest = [each.name for each in known if each.name not in names]
        reason = f"about {asked.tokens:,} tokens, {how} {tokens:,}"
        return Selection([first, other, *rest] if fits else [first, *rest], reason)

    by_size.candidates = names  # type: ignore[attr-defined]  # pyright: ignore[reportFunctionMemberAccess]
    return by_size


def _by(
    known: Sequence[CandidateStats],
    figure: Callable[[CandidateStats], float | None],
    of: str,
    told: Callable[[float], str],
    *,
    unknown_first: bool = False,
) -> Selection:
    def rank(each: CandidateStats) -> tuple[bool, bool, float]:
        value = figure(each)
        return not each.is_well, (value is None) is not unknown_first, value or 0.0

    order = sorted(known, key=rank)
    figures = [f"{each.name} {told(value) if (value := figure(each)) is not None else '?'}" for each in order]
    why_not = _why_not([each for each in known if not each.is_well])
    return Selection(
        [each.name for each in order], "; ".join(filter(None, (f"{', '.join(figures)} {of}", why_not)))
    )


def _why_not(unwell: Sequence[CandidateStats]) -> str:
    return ", ".join(
        f"{each.name}'s circuit is open"
        if each.circuit == "open"
        else f"{each.name} fails {each.failure_share:.0%}"
        for each in unwell
    )


def _usd(usd: float) -> str:
    return f"${usd:.2g}" if usd else "$0"


def _seconds(seconds: float) -> str:
    return f"{seconds:.2g} s"


def _named(candidate: Any) -> str:
    if isinstance(candidate, str):
        return candidate
    name = getattr(candidate, "model_name", None) or getattr(candidate, "name", None)
    if not isinstance(name, str):
        raise BadInput(f"by_size takes candidates of the route, or their names, not {candidate!r}")
    return name


def following(call: CallModel | CallTool, candidates: int) -> int | None:
    """The next candidate, in the order that was chosen or else in the route's; None after the last."""
    if call.choice is None:
        return call.candidate_index + 1 if call.candidate_index + 1 < candidates else None
    order = call.choice.order
    place = order.index(call.candidate_index) + 1 if call.candidate_index in order else len(order)
    return order[place] if place < len(order) else None
