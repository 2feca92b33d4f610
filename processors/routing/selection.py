"""Selection: the order in which a route's candidates are called. It is decided and recorded once for each
step.

    ModelRoute("rank", [small, large], choose=cheapest())

A chooser is a function of the call and of the statistics of each candidate. It is not async. It returns
names: the first candidate is called, the next one if the first gives up, and candidates that it leaves out
are not called. If it returns a single name, the other candidates follow in the route's order.

The stage that makes the call also makes the selection, and publishes it with its reason before the call: if
the worker crashes in between, the selection is found again, and retries, reroutes and replays use it.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from pydantic_core import to_json

from segue.topics.errors import BadInput
from segue.topics.parts import Choice, Circuit
from segue.topics.records import CallModel, CallTool

CHARACTERS_PER_TOKEN = 4
"""An estimate for English text. Only a model's own tokenizer counts exactly, and each model has its own."""

FAILING_SHARE = 0.5
"""A candidate whose share of failures is above this goes behind the others."""

REASON_CHARS_MAX = 500


class CallInfo(NamedTuple):
    """A call for which a chooser orders the candidates. `tokens` estimates the tokens that a model would
    read.

    `input` is the prompt of a model, the arguments of a tool, or the input of an agent's operation.
    """

    task: str
    workflow: str
    route: str
    input: Any
    tokens: int


@dataclass(frozen=True)
class CandidateStats:
    """The statistics of a candidate; a figure is None if it is not known.

    `usd` estimates the cost of this call in US dollars; `latency_s` is the median of the recent latencies in
    seconds; `failure_share` is the share (0 to 1) of recent attempts that failed; `circuit` is the state of
    its circuit breaker.
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
    """The names of the candidates in the order of calling, and the reason."""

    names: Sequence[str]
    reason: str


Pick = str | Sequence[str] | Selection
Chooser = Callable[[CallInfo, Sequence[CandidateStats]], Pick]


def call_info_of(call: CallModel | CallTool, size_bytes: int | None = None) -> CallInfo:
    """Return the call's information. Give `size_bytes` if the call has only a reference to its input."""
    given = call.arguments if isinstance(call, CallTool) else call.prompt
    spoken = [given, getattr(call, "instructions", None)]
    if call.agent is not None:
        given = call.agent.body | {name: list(pieces) for name, pieces in call.agent.large.items()}
        spoken = [given.get("messages", given)]
    size = size_bytes if size_bytes is not None else len(to_json(spoken))
    return CallInfo(call.task, call.workflow, call.route, given, size // CHARACTERS_PER_TOKEN)


def selection_of(choose: Chooser, asked: CallInfo, known: Sequence[CandidateStats]) -> Choice:
    """Return the selection of the chooser. Raises `BadInput` for a name that is not a candidate.

    Other exceptions of the user's function are not caught.
    """
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
    """Order candidates by the cost of this call; those without a known price come last. Failing candidates go
    behind all others.
    """

    def cheapest(asked: CallInfo, known: Sequence[CandidateStats]) -> Selection:
        return _by(known, lambda each: each.usd, f"for about {asked.tokens:,} tokens", _usd)

    return cheapest


def fastest() -> Chooser:
    """Order candidates by their recent median latency. One without recent calls goes first, so that it is
    measured.
    """

    def fastest(_: CallInfo, known: Sequence[CandidateStats]) -> Selection:
        return _by(known, lambda each: each.latency_s, "in the median", _seconds, unknown_first=True)

    return fastest


def healthiest() -> Chooser:
    """Keep the route's order, but put candidates with an open circuit, or that mostly fail, behind the
    others.
    """

    def healthiest(_: CallInfo, known: Sequence[CandidateStats]) -> Selection:
        unwell = [each for each in known if not each.is_well]
        order = sorted(known, key=lambda each: not each.is_well)
        return Selection(
            [each.name for each in order], _why_not(unwell) or "no candidate fails: the route's order"
        )

    return healthiest


def by_size(tokens: int, small: Any, large: Any) -> Chooser:
    """Call `small` first for an input of at most `tokens` tokens; for a larger input call `large`, and never
    `small`.

    `small` and `large` are candidates of the route, or their names. The route's other candidates come behind
    them.
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
    """Return the next candidate in the selected order, or else in the route's order; None after the last."""
    if call.choice is None:
        return call.candidate_index + 1 if call.candidate_index + 1 < candidates else None
    order = call.choice.order
    place = order.index(call.candidate_index) + 1 if call.candidate_index in order else len(order)
    return order[place] if place < len(order) else None
