"""Stage recover: the policy, as a table."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from segue import App, Task, tool, workflow
from segue.processors.routing.policy import Policy
from segue.processors.routing.routes import AnyRoute, ModelRoute, ToolRoute
from segue.processors.stages.recover import Recover, backoff_s, decide
from segue.topics.flow import Decision, Publish
from segue.topics.parts import Refusal
from segue.topics.records import AttemptFailed, Delay, StepFailed
from tests.builders import (
    NOW_MS,
    call_model,
    call_tool,
    critique,
    failure,
    problem,
    published,
    received,
)


@workflow
async def idle(task: Task) -> None: ...


@tool
async def first() -> None: ...


@tool
async def second() -> None: ...


ROUTES: list[AnyRoute] = [
    ToolRoute("search", [first, second], policy=Policy(retries=1, backoff_s=8)),
    ModelRoute("rank", ["small", "large"], policy=Policy(retries=1, max_reprompts=1)),
]
RECOVER = Recover(App("x", workflows=[idle], tools=[first, second], routes=ROUTES))


def recover(failed: AttemptFailed) -> Decision:
    return RECOVER.handle(received("failures", failed), NOW_MS)


# ---------------------------------------------------------------- decide


@pytest.mark.parametrize("model", [True, False])
@pytest.mark.parametrize("refused", [True, False])
@pytest.mark.parametrize("retryable", [True, False])
@pytest.mark.parametrize("tries", [0, 1, 2])
@pytest.mark.parametrize("critiques", [0, 1, 2])
@pytest.mark.parametrize("candidate", [0, 1])
def test_the_policy_decides(
    model: bool, refused: bool, retryable: bool, tries: int, critiques: int, candidate: int
) -> None:
    """Two candidates, two tries each, one critique each."""
    facts: dict[str, Any] = {
        "tries": tries,
        "candidate_index": candidate,
        "critiques": tuple(critique() for _ in range(critiques)),
    }
    call = call_model(**facts) if model else call_tool(**facts)
    failed = failure(call, problem=problem(retryable=retryable), critique=critique() if refused else None)
    last = "reroute" if candidate == 0 else "give up"
    if refused:
        expected = "ask again" if model and critiques < 1 else last
    else:
        expected = "retry" if retryable and tries < 1 else last
    assert decide(failed, Policy(retries=1, max_reprompts=1), candidates=2).action == expected


@given(st.integers(0, 8), st.integers(0, 3), st.integers(1, 4))
def test_every_chain_of_failures_comes_to_an_end(retries: int, critiques: int, candidates: int) -> None:
    policy, call, attempts = Policy(retries=retries, max_reprompts=critiques), call_tool(), 1
    while (action := decide(failure(call), policy, candidates).action) != "give up":
        changes = (
            {"tries": call.tries + 1}
            if action == "retry"
            else {"tries": 0, "candidate_index": call.candidate_index + 1}
        )
        call, attempts = call.model_copy(update=changes), attempts + 1
    assert attempts == candidates * (1 + retries)


# ---------------------------------------------------------------- backoff


@given(st.integers(0, 2000), st.integers(1, 50), st.floats(0, 10), st.floats(10, 100))
def test_backoff_is_between_zero_and_its_ceiling(
    tries: int, attempt: int, base_s: float, most_s: float
) -> None:
    call, policy = call_tool(tries=tries, attempt=attempt), Policy(backoff_s=base_s, backoff_s_max=most_s)
    ceiling = most_s if tries > 1000 else min(most_s, base_s * 2**tries)
    assert 0 <= backoff_s(call, policy) <= ceiling
    assert backoff_s(call, policy) == backoff_s(call, policy), "a replay waits as long"


def test_backoff_differs_between_tasks_steps_and_attempts() -> None:
    calls = [call_tool(), call_tool(task="u"), call_tool(step=1), call_tool(attempt=2)]
    assert len({backoff_s(call, Policy()) for call in calls}) == len(calls)


def test_backoff_fills_its_range_evenly() -> None:
    drawn = [backoff_s(call_tool(task=str(n)), Policy(backoff_s=1, backoff_s_max=1)) for n in range(1000)]
    assert 0.45 < sum(drawn) / 1000 < 0.55
    assert min(drawn) < 0.02
    assert max(drawn) > 0.98


# ---------------------------------------------------------------- it happens


def test_a_retry_waits_for_its_backoff() -> None:
    call = call_tool()
    due_ms = NOW_MS + round(backoff_s(call, Policy(backoff_s=8)) * 1000)
    again = call.model_copy(update={"attempt": 2, "tries": 1, "at_ms": due_ms})
    delay = Delay(task="t", id="0/2", due_ms=due_ms, topic="tool-calls", record=again)
    assert recover(failure(call)) == Decision([Publish("delays", "t", delay)])


def test_a_retry_waits_at_least_as_long_as_the_service_asked_for() -> None:
    [delay] = published(recover(failure(problem=problem(retry_after_s=90))), "delays")
    assert delay.due_ms == NOW_MS + 90_000


def test_the_next_candidate_starts_afresh() -> None:
    call = call_model(tries=1, attempt=4, critiques=(critique(),))
    changes: dict[str, Any] = {
        "attempt": 5,
        "candidate_index": 1,
        "tries": 0,
        "critiques": (),
        "at_ms": NOW_MS,
    }
    assert recover(failure(call)) == Decision([Publish("model-calls", "t", call.model_copy(update=changes))])


def test_a_refused_output_goes_back_with_the_critique() -> None:
    call = call_model(tries=1)
    told = {"critiques": (critique(),), "refusals": (Refusal(candidate="first", reason="too long"),)}
    again = call.model_copy(update={"attempt": 2, **told, "at_ms": NOW_MS})
    assert recover(failure(call, critique=critique())) == Decision([Publish("model-calls", "t", again)])


def test_giving_up_tells_the_workflow() -> None:
    failed = failure(call_tool(tries=1, candidate_index=1, attempt=4), candidate="second")
    told = StepFailed(
        task="t",
        step=0,
        fingerprint="p",
        problem=failed.problem,
        attempt=4,
        route="search",
        candidate="second",
        at_ms=NOW_MS,
    )
    assert recover(failed) == Decision([Publish("events", "t", told)])


# ---------------------------------------------------------------- already, and never


def test_a_redelivered_failure_decides_the_same() -> None:
    assert recover(failure()) == recover(failure())


def test_a_route_that_is_unknown_here_gives_up() -> None:
    decision = recover(failure(call_tool(route="gone")))
    assert [each.topic for each in decision.publish] == ["events"]


def test_what_is_no_failure_is_a_dead_letter() -> None:
    [letter] = RECOVER.handle(received("failures", b"{}"), NOW_MS).publish
    assert (letter.topic, letter.value) == ("dead-letters", b"{}")
