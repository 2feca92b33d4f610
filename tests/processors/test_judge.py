"""A model as judge: its verdict is durable, its critique goes back, and what it costs is the step's."""

from collections.abc import Callable
from typing import Any

import pytest

from segue import (
    App,
    ModelRoute,
    OutputRejected,
    Policy,
    Spent,
    StepError,
    Task,
    UnknownName,
    check,
    judge,
    workflow,
)
from segue.processors.stages.reply import Reply
from segue.topics.errors import Permanent, Retryable
from segue.topics.parts import Usage
from tests.driver import Driver

USED = Usage(model="m", input_tokens=10, output_tokens=1, usd=0.5)


@check
def is_short(output: str) -> None:
    if len(output) > 20:
        raise OutputRejected("too long")


def verdict(*accepted: str) -> Callable[[Any], Reply]:
    """Accepts what contains one of these."""

    def decide(call: Any) -> Reply:
        yes = any(word in call.judging.result for word in accepted)
        return Reply(
            {"accepted": yes, "critique": "" if yes else f"{call.judging.result!r} is not quiet"}, "", USED
        )

    return decide


KIND = verdict("")
"""Accepts all."""


@workflow
async def write(task: Task, wish: str) -> str:
    quiet, kind = judge("Is it quiet?", route="critic", wish=wish), judge("Is it kind?", route="second")
    try:
        return await task.model("writer", wish, check=[is_short(), quiet, kind])
    except StepError as error:
        return f"{error.problem.type}: {[refusal.reason for refusal in error.refusals]}"


ROUTES = [
    ModelRoute("writer", ["cheap", "strong"], policy=Policy(retries=0, max_reprompts=1)),
    ModelRoute("critic", ["judge-a", "judge-b"], policy=Policy(retries=1, max_reprompts=1, backoff_s=0)),
    ModelRoute("second", ["judge-c"], policy=Policy(retries=0)),
]


def driven(writer: Any, critic: Any, second: Any = KIND, **driver: Any) -> Driver:
    app = App("x", workflows=[write], routes=ROUTES, checks=[is_short])
    found = Driver(app, {"writer": writer, "critic": critic, "second": second}, **driver)
    found.submit("write", "a quiet place")
    found.run()
    return found


def writes(*texts: str) -> Callable[[Any], Reply]:
    return lambda call: Reply(texts[call.attempt - 1], "", USED)


# ---------------------------------------------------------------- it happens


def test_checks_of_both_kinds_run_in_their_order_and_all_must_accept() -> None:
    driver = driven(writes("a quiet cove"), verdict("quiet"))
    assert driver.result().result == "a quiet cove"
    assert driver.ran == ["t/0/1 cheap", "t/0/1/check-1/1 judge-a", "t/0/1/check-2/1 judge-c"]


def test_the_judges_critique_goes_back_to_the_model() -> None:
    driver = driven(writes("a loud bar", "a quiet cove"), verdict("quiet"))
    [again] = [call for call in driver.records("model-calls") if call.critiques]
    assert [critique.reason for critique in again.critiques] == ["'a loud bar' is not quiet"]
    assert driver.result().result == "a quiet cove"


def test_a_judge_sees_what_was_asked_what_was_answered_and_what_it_was_given() -> None:
    seen: list[Any] = []

    def critic(call: Any) -> Reply:
        from segue.processors.stages.model import conversation

        seen.append(conversation(call)[0].content)
        return Reply({"accepted": True, "critique": ""}, "")

    driven(writes("a quiet cove"), critic)
    assert seen == [
        {
            "asked": {"prompt": "a quiet place", "instructions": None},
            "answer": "a quiet cove",
            "question": "Is it quiet?",
            "given": {"wish": "a quiet place"},
        }
    ]


def test_what_no_candidate_gets_right_is_the_workflows_with_all_critiques() -> None:
    driver = driven(writes("a bar", "a club", "a disco", "a fair"), verdict("quiet"))
    reasons = [f"'{text}' is not quiet" for text in ("a bar", "a club", "a disco", "a fair")]
    assert driver.result().result == f"OutputRejected: {reasons}"


def test_the_step_has_consumed_what_its_attempts_and_judges_did() -> None:
    """Two attempts, the first refused by the first judge, the second accepted by both: five calls."""
    driver = driven(writes("a loud bar", "a quiet cove"), verdict("quiet"))
    spent = Spent(calls=5, input_tokens=50, output_tokens=5, usd=2.5)
    assert driver.records("events")[1].spent == spent
    assert driver.result().spent == spent


def test_a_judge_is_retried_and_rerouted_by_its_own_policy() -> None:
    def critic(call: Any) -> Reply:
        if call.candidate_index == 0:
            raise Retryable("busy")
        return verdict("quiet")(call)

    driver = driven(writes("a quiet cove"), critic)
    judged = [entry for entry in driver.ran if "check-1" in entry]
    assert judged == [f"t/0/1/check-1/{n} judge-{who}" for n, who in ((1, "a"), (2, "a"), (3, "b"))]
    assert driver.result().result == "a quiet cove"


def test_a_judge_without_a_verdict_fails_the_step_it_was_to_judge() -> None:
    def critic(call: Any) -> Reply:
        raise Permanent("no credit")

    driver = driven(writes("a quiet cove"), critic)
    assert driver.result().result == "NoVerdict: []"
    assert driver.reasons() == ["writer: judge 'critic' gave no verdict: no credit"]
    assert [entry for entry in driver.ran if "cheap" in entry or "strong" in entry] == ["t/0/1 cheap"]


# ---------------------------------------------------------------- already


@pytest.mark.parametrize("act", range(14))
@pytest.mark.parametrize("exactly_once", [True, False])
def test_wherever_it_is_crashed_the_verdict_is_the_same(act: int, exactly_once: bool) -> None:
    driver = driven(
        writes("a loud bar", "a quiet cove"), verdict("quiet"), crashes={act: 1}, exactly_once=exactly_once
    )
    assert driver.result().result == "a quiet cove"
    events = [event for event in driver.records("events") if event.kind == "step_succeeded"]
    assert {event.result for event in events} == {"a quiet cove"}


# ---------------------------------------------------------------- never


def test_a_judge_of_no_route_is_told_at_the_await() -> None:
    @workflow
    async def lost(task: Task) -> str:
        return await task.model("writer", "?", check=judge("Good?", route="nobody"))

    driver = Driver(App("x", workflows=[lost], routes=ROUTES))
    driver.submit("lost")
    driver.run()
    problem = driver.bug()
    assert (problem.type, "no model route 'nobody'" in problem.message) == (UnknownName.__name__, True)
