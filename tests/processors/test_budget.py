"""What a task has consumed, and what happens when its budget is used up."""

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic_ai import Agent
from pydantic_ai.messages import ModelResponse, ToolCallPart
from pydantic_ai.models.function import FunctionModel
from pydantic_ai.usage import RequestUsage

from segue import App, Budget, BudgetExceeded, ModelRoute, Policy, Price, Spent, Task, workflow
from segue.agents import Durable
from segue.processors.formatting import usd
from segue.processors.limits import LIMITS, Limits
from segue.processors.routing.budget import BUDGET_SIGNAL, strictest, together, used_up
from segue.processors.stages.reply import Reply
from segue.topics.errors import Retryable
from segue.topics.parts import Usage
from tests.driver import Driver

USED = Usage(model="m", input_tokens=100, output_tokens=0, usd=0.25)
"""By each call of these tests."""

ROUTE = ModelRoute("rank", ["small", "large"], policy=Policy(retries=0))


def says(call: Any) -> Reply:
    return Reply("x", "", USED)


async def times(task: Task, n: int) -> int:
    for done in range(n):
        try:
            await task.model("rank", "?")
        except BudgetExceeded:
            return done
    return n


def played(budget: Budget | None) -> Any:
    return workflow(name="times", budget=budget)(times)


def driven(
    budget: Budget | None = None,
    n: int = 5,
    answer: Callable[[Any], Any] = says,
    limits: Limits = LIMITS,
    **asked: Any,
) -> Driver:
    driver = Driver(App("x", workflows=[played(budget)], routes=[ROUTE]), {"rank": answer}, limits=limits)
    driver.produce("tasks", {"workflow": "times", "input": n, "id": "t"} | asked.pop("request", asked))
    driver.run()
    return driver


# ---------------------------------------------------------------- what is counted


def test_a_task_counts_what_its_calls_consume() -> None:
    driver = driven(n=3)
    spent = Spent(calls=3, input_tokens=300, usd=0.75)
    assert driver.result().spent == spent
    assert driver.records("status")[-1].spent == spent


def test_what_has_no_price_is_counted_and_said() -> None:
    driver = driven(n=1, answer=lambda call: Reply("x", "", USED.model_copy(update={"usd": None})))
    assert driver.result().spent == Spent(calls=1, input_tokens=100, unpriced_tokens=100)


def test_a_task_that_calls_no_model_has_consumed_nothing() -> None:
    assert driven(n=0).result().spent is None


@workflow
async def parent(task: Task) -> int:
    await task.model("rank", "?")
    return int(sum(await task.gather(task.child(played(None), 1), task.child(played(None), 2))))


def test_a_childs_consumption_is_its_parents_too() -> None:
    driver = Driver(App("x", workflows=[parent, played(None)], routes=[ROUTE]), {"rank": says})
    driver.submit("parent")
    driver.run()
    assert driver.result().spent == Spent(calls=4, input_tokens=400, usd=1.0)
    assert driver.result("t/2").spent == Spent(calls=2, input_tokens=200, usd=0.5)


@given(
    st.lists(
        st.builds(Spent, calls=st.integers(0, 9), usd=st.floats(0, 9), unpriced_tokens=st.integers(0, 9))
    )
)
def test_sums_have_all_their_parts(parts: list[Spent]) -> None:
    whole = together(*parts) or Spent()
    assert (whole.calls, whole.unpriced_tokens) == tuple(
        sum(getattr(part, name) for part in parts) for name in ("calls", "unpriced_tokens")
    )
    assert whole.usd == pytest.approx(sum(part.usd for part in parts))


# ---------------------------------------------------------------- it is used up


@pytest.mark.parametrize("budget", [Budget(usd=0.5), Budget(tokens=200), Budget(usd=9, tokens=150)])
def test_no_model_is_called_once_the_budget_is_used_up(budget: Budget) -> None:
    driver = driven(budget)
    assert (driver.result().result, len(driver.ran)) == (2, 2)


def test_the_request_and_the_tenant_may_allow_less_and_never_more() -> None:
    of_tenants = Limits(budgets={"acme": Budget(usd=0.25), "*": Budget(usd=0.75)})
    assert driven(Budget(usd=0.5), limits=of_tenants, tenant="acme").result().result == 1
    assert driven(Budget(usd=0.5), limits=of_tenants).result().result == 2
    assert driven(None, limits=of_tenants).result().result == 3
    assert driven(Budget(usd=0.5), request={"budget": {"usd": 0.1}}).result().result == 1
    assert driven(Budget(usd=0.5), request={"budget": {"usd": 9}}).result().result == 2


def test_an_uncaught_end_of_the_budget_ends_the_task_and_says_what_to_do() -> None:
    @workflow(budget=Budget(usd=0.25))
    async def twice(task: Task) -> None:
        await task.model("rank", "?")
        await task.model("rank", "?")

    driver = Driver(App("x", workflows=[twice], routes=[ROUTE]), {"rank": says})
    driver.submit("twice")
    driver.run()
    problem = driver.result().problem
    assert problem is not None
    assert problem.type == "BudgetExceeded"
    assert problem.message == (
        "rank: the budget is used up: $0.25 of $0.25 are spent. Raise it with `segue budget TASK --usd …`, "
        "or handle BudgetExceeded in the workflow"
    )


def test_within_a_step_critiques_and_candidates_end_with_the_budget() -> None:
    """Outputs of the wrong type: 2 critiques for each of 2 candidates would be 6 calls."""

    @workflow(budget=Budget(usd=0.5))
    async def count(task: Task) -> str:
        try:
            return str(await task.model("rank", "how many?", output=int))
        except BudgetExceeded as error:
            return error.problem.message

    driver = Driver(App("x", workflows=[count], routes=[ROUTE]), {"rank": says})
    driver.submit("count")
    driver.run()
    assert len(driver.ran) == 2
    assert "$0.50 of $0.50 are spent after 2 attempts, the last of which failed" in driver.result().result
    assert driver.result().spent == Spent(calls=2, input_tokens=200, usd=0.5)


def test_the_step_that_is_over_the_budget_counts_the_steps_of_earlier_runs() -> None:
    @workflow(budget=Budget(usd=0.5))
    async def goes_on(task: Task, run: int = 0) -> Any:
        await task.model("rank", "?")
        if run == 0:
            task.continue_as_new(1)
        try:
            await task.model("rank", "?")
        except BudgetExceeded as error:
            return error.step

    driver = Driver(App("x", workflows=[goes_on], routes=[ROUTE]), {"rank": says})
    driver.submit("goes_on", 0)
    driver.run()
    assert driver.result().result == 2


@pytest.mark.parametrize("budget", [Budget(usd=0.75), Budget(tokens=300)])
def test_a_child_may_use_what_its_parent_has_left(budget: Budget) -> None:
    @workflow(budget=budget)
    async def shares(task: Task) -> int:
        await task.model("rank", "?")
        return int(await task.child(played(None), 5))

    driver = Driver(App("x", workflows=[shares, played(None)], routes=[ROUTE]), {"rank": says})
    driver.submit("shares")
    driver.run()
    assert driver.result().result == 2
    assert driver.result().spent == Spent(calls=3, input_tokens=300, usd=0.75)


def test_calls_that_were_asked_for_at_once_are_all_made() -> None:
    """What docs say of how far a budget may be exceeded: by the calls in flight."""

    @workflow(budget=Budget(usd=0.25))
    async def at_once(task: Task) -> int:
        return len(await task.gather(*(task.model("rank", "?") for _ in range(4))))

    driver = Driver(App("x", workflows=[at_once], routes=[ROUTE]), {"rank": says})
    driver.submit("at_once")
    driver.run()
    assert driver.result().spent == Spent(calls=4, input_tokens=400, usd=1.0)


def test_an_agents_requests_count_and_end_with_the_budget() -> None:
    def go_on(messages: list[Any], info: Any) -> ModelResponse:
        usage = RequestUsage(input_tokens=100)
        return ModelResponse(parts=[ToolCallPart("look", {})], usage=usage, model_name="m")

    agent = Agent(FunctionModel(go_on, model_name="m"), name="guide", capabilities=[Durable()])

    @agent.tool_plain
    async def look() -> str:
        return "nothing"

    @workflow(budget=Budget(usd=0.5))
    async def guided(task: Task) -> str:
        return (await agent.run("go")).output

    app = App("x", workflows=[guided], agents=[agent], prices={"m": Price(input=2_500, output=0)})
    driver = Driver(app)
    driver.submit("guided")
    driver.run()
    result = driver.result()
    assert result.problem is not None
    assert (result.problem.type, result.spent) == (
        "BudgetExceeded",
        Spent(calls=2, input_tokens=200, usd=0.5),
    )


# ---------------------------------------------------------------- a person may raise it


def asking(**more: Any) -> Driver:
    driver = driven(Budget(usd=0.5, ask="ada"), n=4, **more)
    [question] = driver.records("questions")
    assert (question.to, driver.records("status")[-1].state) == ("ada", "waiting")
    assert question.text == (
        "The task has used up its budget: $0.50 of $0.50 are spent. "
        "How many US dollars may it use in all? (0: no more)"
    )
    return driver


def test_the_task_waits_for_a_person_and_goes_on_with_more() -> None:
    driver = asking()
    driver.produce("signals", {"kind": "answer", "task": "t", "value": 1})
    driver.run()
    assert (driver.result().result, len(driver.ran)) == (4, 4)


def test_more_may_come_without_being_asked_for_and_closes_the_question() -> None:
    driver = asking()
    driver.produce("signals", {"kind": "signal", "task": "t", "name": BUDGET_SIGNAL, "value": {"usd": 0.75}})
    driver.run()
    first, closed, second = driver.records("questions")
    assert (first.kind, closed.reason, second.kind) == ("question", "answered", "question")
    driver.produce("signals", {"kind": "answer", "task": "t", "value": 0})
    driver.run()
    assert (driver.result().result, len(driver.ran)) == (3, 3)


def test_a_no_is_told_to_the_workflow() -> None:
    driver = asking()
    driver.produce("signals", {"kind": "answer", "task": "t", "value": 0})
    driver.run()
    assert (driver.result().result, driver.result().spent) == (2, Spent(calls=2, input_tokens=200, usd=0.5))


def test_calls_that_wait_together_ask_once() -> None:
    @workflow(budget=Budget(usd=0.25, ask="ada"))
    async def at_once(task: Task) -> int:
        await task.model("rank", "?")
        return len(await task.gather(*(task.model("rank", "?") for _ in range(3))))

    driver = Driver(App("x", workflows=[at_once], routes=[ROUTE]), {"rank": says})
    driver.submit("at_once")
    driver.run()
    assert len(driver.records("questions")) == 1
    driver.produce("signals", {"kind": "answer", "task": "t", "value": 2})
    driver.run()
    assert driver.result().result == 3


def test_a_step_that_met_the_end_goes_on_with_more() -> None:
    @workflow(budget=Budget(usd=0.25, ask="ada"))
    async def count(task: Task) -> int:
        return await task.model("rank", "how many?", output=int)

    answers = iter(["many", 3])
    driver = Driver(
        App("x", workflows=[count], routes=[ROUTE]), {"rank": lambda _: Reply(next(answers), "", USED)}
    )
    driver.submit("count")
    driver.run()
    driver.produce("signals", {"kind": "answer", "task": "t", "value": 2})
    driver.run()
    assert (driver.result().result, driver.result().spent) == (3, Spent(calls=2, input_tokens=200, usd=0.5))


@pytest.mark.parametrize("value", ["much", -1, True, None])
def test_what_is_no_amount_is_put_aside_and_the_question_stays_open(value: Any) -> None:
    driver = asking()
    driver.produce("signals", {"kind": "answer", "task": "t", "value": value})
    driver.run()
    assert len(driver.reasons()) == 1
    assert driver.records("status")[-1].state == "waiting"


@pytest.mark.parametrize("value", [None, {}, {"usd": -1}, {"eur": 1}, 7])
def test_what_is_no_budget_is_put_aside_where_it_enters(value: Any) -> None:
    driver = asking()
    driver.produce("signals", {"kind": "signal", "task": "t", "name": BUDGET_SIGNAL, "value": value})
    driver.run()
    assert [
        reason.startswith(("this is not a budget", "the budget is empty")) for reason in driver.reasons()
    ] == [True]


# ---------------------------------------------------------------- already


@pytest.mark.parametrize("act", range(0, 30, 2))
def test_a_task_stops_at_the_same_await_wherever_it_is_crashed(act: int) -> None:
    app = App("x", workflows=[played(Budget(usd=0.5, ask="ada"))], routes=[ROUTE])
    driver = Driver(app, {"rank": says}, crashes={act: 0})
    driver.submit("times", 4)
    driver.run()
    driver.produce("signals", {"kind": "answer", "task": "t", "value": 0.75})
    driver.run()
    driver.restart()
    driver.produce("signals", {"kind": "answer", "task": "t", "value": 0})
    driver.run()
    assert (driver.result().result, driver.result().spent) == (3, Spent(calls=3, input_tokens=300, usd=0.75))


# ---------------------------------------------------------------- never


def test_a_failed_attempt_that_has_no_usage_costs_nothing() -> None:
    def answer(call: Any) -> Reply:
        if call.candidate_index == 0:
            raise Retryable("busy")
        return says(call)

    assert driven(n=1, answer=answer).result().spent == Spent(calls=1, input_tokens=100, usd=0.25)


def test_without_limits_there_is_no_end() -> None:
    assert used_up(Spent(usd=1e9), None) is used_up(Spent(usd=1e9), Budget()) is None
    assert strictest(None, None) is None
    assert strictest(Budget(usd=1), None, Budget(usd=2, tokens=3, ask="ada")) == Budget(
        usd=1, tokens=3, ask="ada"
    )


@pytest.mark.parametrize(
    ("amount", "told"),
    [(0, "$0.00"), (0.0123456, "$0.0123"), (0.5, "$0.50"), (12.4, "$12.40"), (1e-7, "$0.0000001")],
)
def test_money_is_told_with_as_many_digits_as_say_something(amount: float, told: str) -> None:
    assert usd(amount) == told
