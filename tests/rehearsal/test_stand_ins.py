"""What answers in place of models and tools, and what a test got wrong is told at once."""

# A stand-in is often a lambda, whose parameters have no types.
# pyright: reportUnknownLambdaType=false, reportUnknownArgumentType=false, reportUnknownVariableType=false

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from pydantic_ai.messages import ModelMessage, ModelResponse, TextPart
from pydantic_ai.models.function import AgentInfo, FunctionModel
from pydantic_ai.models.openai import OpenAIChatModel
from pydantic_ai.models.test import TestModel
from pydantic_ai.providers.openai import OpenAIProvider

from segue import (
    App,
    BadInput,
    ModelRoute,
    StepError,
    Task,
    current_attempt,
    judge,
    tool,
    workflow,
)
from segue.testing import NoResult, Rehearsal, in_turn
from tests.rehearsal.trips import RANKED, Hotel, app, search


@workflow
async def ranks(task: Task, wish: str) -> list[Hotel]:
    return await task.model("rank", wish, output=list[Hotel])


@workflow
async def writes(task: Task) -> str:
    return await task.model("rank", "write!")


@workflow
async def picks(task: Task) -> Hotel:
    return await task.model("rank", "which?", output=Hotel)


@workflow
async def finds(task: Task) -> list[str]:
    return await task.tool(search, place="Faro")


@workflow
async def tries(task: Task) -> Any:
    try:
        return await task.tool("free", hotel_id="h-1")
    except StepError as error:
        return error.problem.message


APP = app(ranks, writes, picks, finds, tries)


def came_to(run: Any, given: Any = None, **stand_ins: Any) -> Any:
    with Rehearsal(APP, **stand_ins) as play:
        play.start(run, given)
        return play.result()


# ---------------------------------------------------------------- what may stand in


def later(value: Any) -> Callable[..., Any]:
    async def answer(*_: Any, **__: Any) -> Any:
        return value

    return answer


@pytest.mark.parametrize(
    "given",
    [
        RANKED,
        [hotel.model_dump() for hotel in RANKED],
        lambda wish: RANKED if wish == "quiet" else [],
        later(RANKED),
        in_turn(TimeoutError(), RANKED),
        in_turn(lambda wish: RANKED),
    ],
    ids=["objects", "JSON", "function", "coroutine", "in turn", "function in turn"],
)
def test_a_models_answer_may_be_given_in_many_ways(given: Any) -> None:
    assert came_to(ranks, "quiet", models={"rank": given}) == RANKED


def test_a_models_text_is_what_it_said() -> None:
    assert came_to(writes, models={"rank": "so it is"}) == "so it is"
    assert came_to(picks, models={"rank": in_turn('{"id": "h-1"', '{"id": "h-2"}')}) == Hotel(id="h-2")


def test_one_candidate_fails_and_the_next_answers() -> None:
    models = {"lab:large": RuntimeError("down"), "lab:small": lambda prompt: f"{prompt} Yes."}
    with Rehearsal(APP, models=models) as play:
        play.start(writes)
        assert play.result() == "write! Yes."
        assert [call.candidate for call in play.calls("rank")] == ["lab:large", "lab:small"]


def test_a_stand_in_knows_its_attempt_whatever_it_stands_in_for() -> None:
    def attempt(**_: Any) -> list[str]:
        return [f"attempt {current_attempt().attempt}"]

    assert came_to(writes, models={"rank": lambda prompt: attempt()[0]}) == "attempt 1"
    assert came_to(finds, tools={"hotels.find": TimeoutError(), "search": attempt}) == ["attempt 5"]


def test_a_kind_of_exception_is_raised() -> None:
    with pytest.raises(NoResult, match="rank: RuntimeError"):
        came_to(writes, models={"rank": RuntimeError})


def test_pydantic_ais_models_stand_in() -> None:
    def answer(messages: list[ModelMessage], info: AgentInfo) -> ModelResponse:
        return ModelResponse(parts=[TextPart(f"{len(messages)} message")])

    assert came_to(writes, models={"rank": FunctionModel(answer)}) == "1 message"
    assert came_to(picks, models={"rank": TestModel()}) == Hotel(id="a")
    assert came_to(writes, models={"rank": ModelResponse(parts=[TextPart("made")])}) == "made"


def test_a_judge_is_told_what_to_judge() -> None:
    @workflow
    async def judged(task: Task) -> str:
        return await task.model("rank", "write!", check=judge("Is it loud?", route="critic"))

    def critic(asked: Any) -> Any:
        loud = "LOUD" in str(asked)
        return {"accepted": loud, "critique": "" if loud else "louder!"}

    routes = [ModelRoute("rank", ["lab:large"]), ModelRoute("critic", ["lab:small"])]
    models = {"rank": in_turn("quiet", "LOUD"), "critic": critic}
    with Rehearsal(App("x", workflows=[judged], routes=routes), models=models) as play:
        play.start(judged)
        assert play.result() == "LOUD"


def test_a_tool_is_called_with_the_arguments_that_it_takes() -> None:
    seen: list[Any] = []

    def booked(hotel: Hotel) -> str:
        seen.append((hotel, current_attempt().idempotency_key))
        return "done"

    with Rehearsal(APP, models={"rank": RANKED}, tools={"book": booked}) as play:
        play.start("trip", "quiet", id="t")
        play.answer(1)
        assert play.result() == "done"
    assert seen == [(RANKED[0], "t/6")]


@pytest.mark.parametrize("given", [False, lambda hotel_id: hotel_id != "h-1", in_turn(False)])
def test_a_tools_answer_may_be_given_in_many_ways(given: Any) -> None:
    @workflow
    async def asks(task: Task) -> Any:
        return await task.tool("free", hotel_id="h-1")

    with Rehearsal(app(asks), tools={"free": given}) as play:
        play.start(asks)
        assert play.result() is False


def test_a_declared_tool_may_stand_in_for_another() -> None:
    @tool
    async def never_free(hotel_id: str) -> bool:
        return False

    @workflow
    async def asks(task: Task) -> Any:
        return await task.tool("free", hotel_id="h-1")

    with Rehearsal(app(asks), tools={"free": never_free}) as play:
        play.start(asks)
        assert play.result() is False


@pytest.mark.parametrize("given", [ValueError("no"), ValueError, in_turn(*[ValueError("no")] * 4)])
def test_an_exception_is_raised_and_retried_by_the_policy(given: Any) -> None:
    with Rehearsal(APP, tools={"free": given}) as play:
        play.start(tries)
        assert play.result().startswith("ValueError")
        assert len(play.calls("free")) == 4


def test_tools_elsewhere_are_stood_in_for_by_candidate_or_route() -> None:
    down = {"hotels.find": ConnectionError("no server"), "rates.example.getHotels": lambda place: [place]}
    assert came_to(finds, tools=down) == ["Faro"]
    assert came_to(finds, tools={"search": ["Sol"]}) == ["Sol"]


def test_a_model_that_the_app_has_as_an_object_runs_for_real() -> None:
    offline = FunctionModel(lambda messages, info: ModelResponse(parts=[TextPart("offline")]))
    with Rehearsal(App("x", workflows=[writes], routes=[ModelRoute("rank", [offline])])) as play:
        play.start(writes)
        assert play.result() == "offline"


# ---------------------------------------------------------------- what a test got wrong


def wrong(message: str, run: Any, given: Any = None, **stand_ins: Any) -> None:
    with pytest.raises(BadInput, match=message):
        came_to(run, given, **stand_ins)


def test_a_name_that_is_none_is_told_with_those_that_there_are() -> None:
    there = "no tool 'boook' to replace: choose one of book, cancel, free, hotels.find, rates.*, search"
    wrong(there, writes, tools={"boook": 1})
    wrong("no model 'book' to replace: choose one of lab:large, lab:small, rank", writes, models={"book": 1})


def test_what_would_reach_out_of_the_process_is_refused() -> None:
    """Though the workflow catches what its steps fail by."""
    refused = "has no stand-in, and a rehearsal does not reach out of this process: say what it answers"
    wrong(f"model 'lab:large' of route 'rank' {refused}, Rehearsal\\(app, models={{'rank': …}}\\)", writes)
    wrong(f"tool 'hotels.find' of route 'search' {refused}, Rehearsal\\(app, tools={{'search': …}}\\)", finds)


def test_a_provider_that_the_app_has_as_an_object_is_not_asked() -> None:
    asked = OpenAIChatModel("gpt-5", provider=OpenAIProvider(api_key="none", base_url="http://127.0.0.1:9"))
    with Rehearsal(App("x", workflows=[writes], routes=[ModelRoute("rank", [asked])])) as play:
        play.start(writes)
        with pytest.raises(BadInput, match="model 'gpt-5' of route 'rank' has no stand-in"):
            play.run()


def test_outcomes_that_are_used_up_are_told() -> None:
    message = (
        "tool 'free' has 1 outcomes, in_turn\\(…\\), and is called once more: give it "
        "another outcome, or a function"
    )
    wrong(message, tries, tools={"free": in_turn(ValueError("no"))})


def test_a_stand_in_that_takes_other_arguments_is_told() -> None:
    message = "the fake for 'free' can't be called with hotel_id: missing a required argument: 'hotel'"
    wrong(message, tries, tools={"free": lambda hotel: True})


def test_a_stand_in_of_another_type_fails_as_the_tool_would() -> None:
    with Rehearsal(APP, models={"rank": RANKED}, tools={"book": 7}) as play:
        play.start("trip", "quiet")
        play.answer(1)
        with pytest.raises(NoResult, match="tool 'book' returned int, not what it declares"):
            play.result()


def test_a_tool_that_takes_too_long_is_timed_out_as_ever() -> None:
    @tool(timeout_s=0.05, retries=0)
    async def slow() -> None:
        await asyncio.sleep(60)

    @workflow
    async def waits(task: Task) -> None:
        await task.tool(slow)

    with Rehearsal(App("x", workflows=[waits], tools=[slow])) as play:
        play.start(waits)
        with pytest.raises(NoResult, match=r"slow: no answer within 0\.05 s"):
            play.result()


def test_a_policys_critiques_reach_the_model() -> None:
    told: list[int] = []

    def answer(messages: list[ModelMessage], info: AgentInfo) -> ModelResponse:
        told.append(len(messages))
        price = 900 if len(told) == 1 else 90
        return ModelResponse(parts=[TextPart(f'{{"answer": [{{"id": "h-1", "price": {price}}}]}}')])

    with Rehearsal(APP, models={"rank": FunctionModel(answer)}) as play:
        play.start("trip", "quiet")
        assert play.question().options[0].label == "The h-1"
    assert told == [1, 3]
