"""Who of a route is called: chosen once, on the record; and what choosers make of figures."""

from collections.abc import Callable, Sequence
from typing import Any

import pytest

from segue import (
    App,
    BadInput,
    CallInfo,
    CandidateStats,
    ModelRoute,
    Policy,
    Selection,
    StepError,
    Task,
    ToolRoute,
    by_size,
    cheapest,
    check,
    fastest,
    healthiest,
    tool,
    workflow,
)
from segue import Price as Costs
from segue.processors.routing.selection import CHARACTERS_PER_TOKEN, Chooser, Pick, selection_of
from segue.streams.calls.candidate_stats import ATTEMPTS_MIN, WINDOW_S, Figures, Measured
from segue.topics.errors import OutputRejected, Permanent
from segue.topics.parts import Choice
from segue.topics.records import CallModel
from tests.driver import Driver

ONCE = Policy(retries=0)
MODELS = ["lab:small", "lab:large"]
PRICES = {"lab:small": Costs(input=1, output=2), "lab:large": Costs(input=10, output=20)}


@workflow
async def ask(task: Task, prompt: str) -> str:
    return await task.model("rank", prompt)


@check
def is_loud(output: str) -> None:
    if output != output.upper():
        raise OutputRejected("say it louder")


@workflow
async def ask_loudly(task: Task, prompt: str) -> str:
    try:
        return await task.model("rank", prompt, check=is_loud())
    except StepError as error:
        return "; ".join(f"{refusal.candidate}: {refusal.reason}" for refusal in error.refusals)


def by_its_number(call: CallModel) -> str:
    return f"by {call.candidate_index}"


def driven(
    choose: Chooser | None,
    *,
    played: Any = ask,
    candidates: Sequence[str] = MODELS,
    answer: Callable[[CallModel], Any] = by_its_number,
    prompt: str = "which?",
    policy: Policy = ONCE,
    **driver: Any,
) -> Driver:
    route = ModelRoute("rank", list(candidates), choose=choose, policy=policy)
    app = App("x", workflows=[ask, ask_loudly], routes=[route], checks=[is_loud], prices=PRICES)
    found = Driver(app, {"rank": answer}, **driver)
    found.submit(played.name, prompt)
    found.run()
    return found


def last_first(asked: CallInfo, known: Sequence[CandidateStats]) -> Pick:
    return [each.name for each in reversed(known)]


def larger(asked: CallInfo, known: Sequence[CandidateStats]) -> Pick:
    return Selection(["lab:large"], f"{asked.input} is for the large one alone")


def unsure(asked: CallInfo, known: Sequence[CandidateStats]) -> Pick:
    raise KeyError("which?")


def stranger(asked: CallInfo, known: Sequence[CandidateStats]) -> Pick:
    return "lab:huge"


# ---------------------------------------------------------------- it happens


def test_the_cheapest_is_called_and_the_record_says_why() -> None:
    driver = driven(cheapest(), candidates=MODELS[::-1])
    assert driver.ran == ["t/0/1 lab:small"]
    [outcome] = driver.records("events")[1:]
    reason = "lab:small $0.001, lab:large $0.01 for about 3 tokens"
    assert outcome.choice == Choice(order=(1, 0), by="cheapest", reason=reason)


def test_who_gives_up_is_followed_in_the_order_that_was_chosen() -> None:
    def answer(call: Any) -> str:
        if call.candidate_index == 1:
            raise Permanent("busy")
        return "done"

    driver = driven(last_first, answer=answer)
    assert driver.ran == ["t/0/1 lab:large", "t/0/2 lab:small"]
    assert driver.result().result == "done"


def test_who_was_not_chosen_is_not_called() -> None:
    def answer(call: Any) -> str:
        raise Permanent("busy")

    driver = driven(larger, answer=answer)
    assert driver.ran == ["t/0/1 lab:large"]
    assert driver.result().outcome == "failed"


def test_a_chooser_that_fails_calls_nobody() -> None:
    for choose, why in (
        (unsure, "KeyError: 'which?'"),
        (stranger, "BadInput: choose=stranger picked 'lab:huge'"),
    ):
        driver = driven(choose)
        problem = driver.result().problem
        assert driver.ran == []
        assert problem is not None
        assert (problem.type, why in problem.message) == ("NoChoice", True)


def test_tools_are_chosen_too() -> None:
    @tool
    async def first() -> str:
        return "first"

    @tool
    async def second() -> str:
        return "second"

    @workflow
    async def search(task: Task) -> Any:
        return await task.tool("search")

    driver = Driver(
        App("x", workflows=[search], routes=[ToolRoute("search", [first, second], choose=last_first)])
    )
    driver.submit("search")
    driver.run()
    assert driver.result().result == "second"


def test_the_cheap_one_is_tried_and_the_strong_one_asked_where_a_check_refuses() -> None:
    def louder_each_time(call: CallModel) -> str:
        return ("quietly", "LOUDLY")[call.candidate_index]

    driver = driven(None, played=ask_loudly, answer=louder_each_time, policy=Policy(max_reprompts=0))
    assert driver.ran == ["t/0/1 lab:small", "t/0/2 lab:large"]
    assert driver.result().result == "LOUDLY"


def test_what_all_candidates_were_told_reaches_the_workflow() -> None:
    driver = driven(None, played=ask_loudly, policy=Policy(max_reprompts=1))
    assert [entry.split()[1] for entry in driver.ran] == ["lab:small"] * 2 + ["lab:large"] * 2
    assert driver.result().result == "; ".join(
        f"{name}: say it louder" for name in ("lab:small",) * 2 + ("lab:large",) * 2
    )


# ---------------------------------------------------------------- already


@pytest.mark.parametrize("act", range(8))
def test_the_choice_stays_what_it_was_wherever_it_is_crashed(act: int) -> None:
    """A chooser whose mind changes every time: what was committed first holds."""
    asked: list[int] = []

    def fickle(_: CallInfo, known: Sequence[CandidateStats]) -> Pick:
        asked.append(1)
        return known[len(asked) % 2].name

    driver = driven(fickle, crashes={act: 0})
    [chosen] = [call for call in driver.records("model-calls") if call.choice is not None]
    assert {entry.split()[1] for entry in driver.ran} == {MODELS[chosen.candidate_index]}
    assert driver.records("events")[1].choice == chosen.choice
    assert driver.result().result == f"by {chosen.candidate_index}"


def test_a_refused_type_goes_on_in_the_order_that_was_chosen() -> None:
    @workflow
    async def count(task: Task) -> int:
        return await task.model("rank", "how many?", output=int)

    route = ModelRoute("rank", list(MODELS), choose=last_first, policy=Policy(max_reprompts=0))
    answers = {1: "many", 0: 3}
    driver = Driver(
        App("x", workflows=[count], routes=[route]), {"rank": lambda call: answers[call.candidate_index]}
    )
    driver.submit("count")
    driver.run()
    assert driver.ran == ["t/0/1 lab:large", "t/0/2 lab:small"]
    assert driver.result().result == 3


# ---------------------------------------------------------------- never


def test_a_route_that_does_not_choose_makes_no_more_records() -> None:
    assert [len(driven(choose).logs["model-calls"]) for choose in (None, cheapest())] == [1, 2]


def test_a_size_is_of_candidates_that_the_route_has() -> None:
    with pytest.raises(
        BadInput,
        match="the chooser of route 'rank' names 'lab:huge', which is not a candidate of the route",
    ):
        ModelRoute("rank", list(MODELS), choose=by_size(10, "lab:small", "lab:huge"))


# ---------------------------------------------------------------- choosers


def chosen(choose: Chooser, *known: CandidateStats, tokens: int = 100) -> list[str]:
    choice = selection_of(choose, CallInfo("t", "w", "rank", "", tokens), known)
    return [known[number].name for number in choice.order]


A, B, C = CandidateStats("a"), CandidateStats("b"), CandidateStats("c")


def test_who_costs_nothing_known_comes_last() -> None:
    assert chosen(cheapest(), A, CandidateStats("b", usd=0.2), CandidateStats("c", usd=0.1)) == [
        "c",
        "b",
        "a",
    ]


def test_who_was_not_measured_is_measured() -> None:
    assert chosen(fastest(), CandidateStats("a", latency_s=0.2), CandidateStats("b", latency_s=0.1), C) == [
        "c",
        "b",
        "a",
    ]


@pytest.mark.parametrize(
    "ill", [CandidateStats("a", usd=0, failure_share=0.6), CandidateStats("a", usd=0, circuit="open")]
)
@pytest.mark.parametrize("choose", [cheapest(), fastest(), healthiest()])
def test_who_is_unwell_goes_behind_the_others(choose: Chooser, ill: CandidateStats) -> None:
    assert chosen(choose, ill, CandidateStats("b", usd=1, latency_s=9, failure_share=0.5)) == ["b", "a"]


def test_size_decides_and_what_is_too_large_does_not_go_to_the_small_one() -> None:
    choose = by_size(100, "b", "a")
    assert chosen(choose, A, B, C, tokens=100) == ["b", "a", "c"]
    assert chosen(choose, A, B, C, tokens=101) == ["a", "c"]


def test_a_prompt_is_measured_as_it_is_sent() -> None:
    choose = by_size(1_000, *MODELS)
    long, short = ("x" * CHARACTERS_PER_TOKEN * tokens for tokens in (1_100, 900))
    assert driven(choose, prompt=short).ran == ["t/0/1 lab:small"]
    assert driven(choose, prompt=long).ran == ["t/0/1 lab:large"]


# ---------------------------------------------------------------- what is known


def test_what_is_measured_is_of_late_and_not_of_chance() -> None:
    now_s = [0.0]
    measured = Measured(lambda: now_s[0])
    assert measured.of("rank", "a") == Figures()
    for duration_s in (0.1, 0.3, 0.2)[: ATTEMPTS_MIN - 1]:
        measured.add("rank", "a", succeeded=True, duration_s=duration_s)
    assert measured.of("rank", "a") == Figures(latency_s=0.2)
    measured.add("rank", "a", succeeded=False, duration_s=9.0)
    figures = measured.of("rank", "a")
    assert (figures.latency_s, round(figures.failure_share or 0, 2)) == (0.2, 0.33)
    now_s[0] = WINDOW_S + 1
    assert measured.of("rank", "a") == Figures()


def test_health_from_elsewhere_decides() -> None:
    class Cluster:
        def of(self, route: str, candidate: str) -> Figures:
            return Figures(circuit="open" if candidate == "lab:small" else "closed")

    driver = driven(healthiest(), knowledge=Cluster())
    assert driver.ran == ["t/0/1 lab:large"]
    assert driver.records("events")[1].choice.reason == "lab:small's circuit is open"
