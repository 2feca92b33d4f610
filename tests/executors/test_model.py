"""The provider path, over real HTTP: what is sent, what is answered, and what each failure means."""

import asyncio
from collections.abc import AsyncGenerator
from typing import Annotated, Any

import pytest
from pydantic import BaseModel, BeforeValidator, Field, TypeAdapter
from pydantic_ai.messages import ModelMessage, ModelResponse, TextPart
from pydantic_ai.models.function import AgentInfo, FunctionModel

from segue.processors.app.app import App
from segue.processors.payloads.schemas import TYPE_DECIDES, schema_of
from segue.processors.routing.pricing import Price
from segue.processors.routing.routes import ModelCandidate, ModelRoute
from segue.processors.stages.reply import Reply
from segue.streams.calls.failures import OutputRefused, Withheld, problem_of
from segue.streams.executors import ModelExecutor
from segue.topics.parts import Usage
from segue.topics.records import CallModel, Critique, Problem
from tests.executors.calls import call_model
from tests.executors.servers.provider import BrokenOff, Failed, Provider, Raw, Silent, provider
from tests.executors.servers.wires import Finish, Said

OPENAI, CHAT, OLLAMA, ANTHROPIC = (
    "openai:gpt-5",
    "openai-chat:gpt-4o",
    "ollama:llama3.2",
    "anthropic:claude-of-the-test",
)
EVERY = (OPENAI, CHAT, OLLAMA, ANTHROPIC)
KEY = "sk-test-0123456789"


class Trip(BaseModel):
    place: str
    price_max: float


TRIP = Trip.model_json_schema()


@pytest.fixture
async def there(monkeypatch: pytest.MonkeyPatch) -> AsyncGenerator[Provider]:
    async with provider() as running:
        monkeypatch.setenv("OPENAI_BASE_URL", f"{running.url}/v1")
        monkeypatch.setenv("OLLAMA_BASE_URL", f"{running.url}/v1")
        monkeypatch.setenv("ANTHROPIC_BASE_URL", running.url)
        monkeypatch.setenv("OPENAI_API_KEY", KEY)
        monkeypatch.setenv("ANTHROPIC_API_KEY", KEY)
        yield running


async def ask(call: CallModel, *candidates: ModelCandidate, **route: Any) -> Reply:
    app = App("test", workflows=[], routes=[ModelRoute(call.route, list(candidates), **route)])
    executor = ModelExecutor(app)
    await executor.start()
    try:
        return await executor(call)
    finally:
        await executor.stop()


async def problem(
    there: Provider, candidate: ModelCandidate = CHAT, call: CallModel | None = None
) -> Problem:
    """What the call failed with, after exactly one request."""
    with pytest.raises(Exception) as failure:  # noqa: PT011 - what it means is compared by the test
        await ask(call or call_model(), candidate)
    assert len(there.sent) == 1
    return problem_of(failure.value)


def usage(candidate: str) -> Usage:
    model = "claude-of-the-test" if candidate == ANTHROPIC else "gpt-of-the-test"
    return Usage(model=model, input_tokens=11, output_tokens=7)


@pytest.mark.parametrize("candidate", EVERY)
async def test_text_is_answered_as_text(there: Provider, candidate: str) -> None:
    there.next = Said("a quiet one")
    assert await ask(call_model(), candidate) == Reply("a quiet one", candidate, usage(candidate))
    assert len(there.sent) == 1


@pytest.mark.parametrize("candidate", EVERY)
async def test_an_object_is_answered_by_its_schema(there: Provider, candidate: str) -> None:
    trip = '{"place": "Lisbon", "price_max": 200}'
    there.next = Said(trip) if candidate == OLLAMA else Said(tool=trip)
    reply = await ask(call_model(output=TRIP), candidate)
    assert reply == Reply({"place": "Lisbon", "price_max": 200}, candidate, usage(candidate))
    assert "price_max" in str(there.sent[0].body)


@pytest.mark.parametrize(
    ("type_", "answer"),
    [(list[Trip], [{"place": "Faro", "price_max": 1.5}]), (int, 42), (str | None, None), (bool, False)],
)
async def test_what_is_no_object_travels_in_one(there: Provider, type_: Any, answer: Any) -> None:
    there.next = Said(tool=TypeAdapter(dict[str, Any]).dump_json({"answer": answer}).decode())
    call = call_model(output=TypeAdapter(type_).json_schema())
    assert (await ask(call, CHAT)).result == answer
    assert there.sent[0].body["tools"][0]["function"]["parameters"]["type"] == "object"


async def test_json_in_a_fence_is_json(there: Provider) -> None:
    there.next = Said('```json\n{"place": "Faro", "price_max": 1}\n```')
    assert (await ask(call_model(output=TRIP), CHAT)).result == {"place": "Faro", "price_max": 1}


async def test_a_refused_output_is_told_with_its_critique(there: Provider) -> None:
    there.next = Said("better")
    critiques = (
        Critique(output={"place": "Porto"}, reason="not near Lisbon"),
        Critique(output=None, reason="empty"),
    )
    await ask(call_model(prompt={"wish": "quiet"}, instructions="Be kind.", critiques=critiques), CHAT)
    assert [(m["role"], m["content"]) for m in there.sent[0].body["messages"]] == [
        ("system", "Be kind."),
        ("user", '{"wish": "quiet"}'),
        ("assistant", '{"place": "Porto"}'),
        ("user", "not near Lisbon\nAnswer again."),
        ("user", "empty\nAnswer again."),
    ]


async def test_the_route_gives_instructions_and_settings(there: Provider) -> None:
    there.next = Said("hello")
    await ask(call_model(), CHAT, instructions="Be brief.", settings={"temperature": 0.25})
    body = there.sent[0].body
    assert (body["messages"][0]["content"], body["temperature"]) == ("Be brief.", 0.25)


async def test_attempts_that_ask_the_same_have_one_idempotency_key(there: Provider) -> None:
    there.next = Said("hello")
    critique = Critique(output="a", reason="b")
    for call in (
        call_model(task="tâche"),
        call_model(task="tâche", attempt=2),
        call_model(critiques=(critique,)),
    ):
        await ask(call, CHAT)
    keys = [sent.headers["idempotency-key"] for sent in there.sent]
    assert keys == ["t%C3%A2che/3/0/0", "t%C3%A2che/3/0/0", "t1/3/0/1"]


async def test_a_client_is_made_once_for_each_candidate(there: Provider) -> None:
    there.next = Said("hello")
    executor = ModelExecutor(App("test", workflows=[], routes=[ModelRoute("interpret", [CHAT])]))
    await asyncio.gather(*(executor(call_model(step=step)) for step in range(5)))
    assert len(executor._clients) == 1  # pyright: ignore[reportPrivateUsage]
    await executor.stop()
    assert len(there.sent) == 5


# ---------------------------------------------------------------- failures


@pytest.mark.parametrize("candidate", EVERY)
async def test_a_rate_limit_is_retried_when_the_provider_says(there: Provider, candidate: str) -> None:
    there.next = Failed(
        429, {"error": {"message": "slow down", "type": "rate_limit_error"}}, {"retry-after": "7"}
    )
    assert await problem(there, candidate) == Problem(
        type="Retryable",
        message=f"{candidate}: HTTP 429 Too Many Requests: slow down",
        retry_after_s=7,
    )


@pytest.mark.parametrize("candidate", EVERY)
async def test_a_server_error_is_retryable(there: Provider, candidate: str) -> None:
    there.next = Failed(500)
    expected = Problem(
        type="Retryable", message=f"{candidate}: HTTP 500 Internal Server Error: it went wrong"
    )
    assert await problem(there, candidate) == expected


async def test_refused_credentials_say_which_key_and_do_not_show_it(there: Provider) -> None:
    there.next = Failed(401, {"error": {"message": f"Incorrect API key provided: {KEY}", "type": "auth"}})
    assert await problem(there) == Problem(
        type="Permanent",
        message=f"{CHAT}: HTTP 401 Unauthorized: the credentials were refused: check the API key or token "
        "(Incorrect API key provided: [redacted]); it is read from OPENAI_API_KEY",
        retryable=False,
    )


@pytest.mark.parametrize("status", [400, 403, 404, 422])
async def test_a_refused_request_is_permanent(there: Provider, status: int) -> None:
    there.next = Failed(status)
    assert not (await problem(there)).retryable


async def test_an_exhausted_quota_is_permanent(there: Provider) -> None:
    there.next = Failed(429, {"error": {"message": "no credit", "code": "insufficient_quota", "type": "q"}})
    assert not (await problem(there)).retryable


async def test_a_missing_key_says_what_to_set(there: Provider, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ANTHROPIC_API_KEY")
    with pytest.raises(Exception) as failure:  # noqa: PT011
        await ask(call_model(), ANTHROPIC)
    found = problem_of(failure.value)
    assert not found.retryable
    assert "ANTHROPIC_API_KEY" in found.message


async def test_an_unknown_provider_is_permanent() -> None:
    with pytest.raises(Exception) as failure:  # noqa: PT011
        await ask(call_model(), "nobody:model")
    assert problem_of(failure.value) == Problem(
        type="Permanent", message="nobody:model: Unknown model: nobody:model", retryable=False
    )


async def test_no_connection_is_retryable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_BASE_URL", "http://127.0.0.1:9/v1")
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    with pytest.raises(Exception) as failure:  # noqa: PT011
        await ask(call_model(), CHAT)
    assert problem_of(failure.value) == Problem(type="Retryable", message=f"{CHAT}: Connection error.")


async def test_a_time_out_cuts_the_request_and_the_client_stays_usable(there: Provider) -> None:
    executor = ModelExecutor(App("test", workflows=[], routes=[ModelRoute("interpret", [CHAT])]))
    there.next = Silent()
    with pytest.raises(TimeoutError) as late:
        async with asyncio.timeout(0.5):
            await executor(call_model())
    assert problem_of(late.value) == Problem(type="TimeoutError", message="timed out")
    there.next = Said("here I am")
    assert (await executor(call_model())).result == "here I am"
    await executor.stop()
    assert len(there.sent) == 2


async def test_a_response_that_is_not_json_is_retryable(there: Provider) -> None:
    there.next = Raw("<html>gateway</html>")
    assert (await problem(there)).retryable


@pytest.mark.parametrize("candidate", EVERY)
async def test_an_answer_that_breaks_off_is_tried_again(there: Provider, candidate: str) -> None:
    there.next = BrokenOff()
    assert (await problem(there, candidate)).retryable


# ---------------------------------------------------------------- what it costs


async def test_the_app_says_what_a_model_costs(there: Provider) -> None:
    there.next = Said("hello")
    for name in (CHAT, "gpt-of-the-test"):
        app = App(
            "test",
            workflows=[],
            routes=[ModelRoute("interpret", [CHAT])],
            prices={name: Price(input=1e5, output=1e6)},
        )
        executor = ModelExecutor(app)
        assert (await executor(call_model())).usage == usage(CHAT).model_copy(update={"usd": 8.1})
        await executor.stop()


async def test_what_is_no_answer_is_counted_all_the_same(there: Provider) -> None:
    for said in (Said("no JSON"), Said("I", finish="content_filter")):
        there.next = said
        with pytest.raises((OutputRefused, Withheld)) as failure:
            await ask(call_model(output=TRIP), CHAT)
        none: Any = failure.value
        assert none.usage == usage(CHAT)


# ---------------------------------------------------------------- outputs that are no answers


async def refused(there: Provider, said: Said, candidate: str = CHAT, schema: Any = TRIP) -> Critique:
    there.next = said
    with pytest.raises(OutputRefused) as failure:
        await ask(call_model(output=schema), candidate)
    assert len(there.sent) == 1
    assert problem_of(failure.value).retryable
    return failure.value.critique


@pytest.mark.parametrize("candidate", [OPENAI, CHAT])
async def test_malformed_json_loops_back(there: Provider, candidate: str) -> None:
    critique = await refused(there, Said(tool='{"place": "Lisbon", '), candidate)
    assert critique.output == '{"place": "Lisbon", '
    assert critique.reason.startswith("The answer is not JSON: ")


@pytest.mark.parametrize("candidate", [OPENAI, CHAT, ANTHROPIC])
async def test_the_wrong_shape_loops_back_with_every_fault(there: Provider, candidate: str) -> None:
    assert await refused(there, Said(tool='{"price_max": "cheap"}'), candidate) == Critique(
        output={"price_max": "cheap"},
        reason="The answer does not fit its schema: 'place' is a required property; "
        "price_max: 'cheap' is not of type 'number'.",
    )


async def test_a_date_that_is_none_loops_back(there: Provider) -> None:
    schema = {"type": "object", "properties": {"day": {"type": "string", "format": "date"}}}
    critique = await refused(there, Said(tool='{"day": "2026-02-30"}'), schema=schema)
    assert critique.reason == "The answer does not fit its schema: day: '2026-02-30' is not a 'date'."


@pytest.mark.parametrize(
    ("type_", "answer"),
    [
        (Annotated[float, Field(multiple_of=0.01)], 19.99),
        (Annotated[str, Field(pattern=r"^\p{L}+$")], "Évora"),
        (set[str], ["a", "a"]),
        (int, "5"),
        (Annotated[float, BeforeValidator(lambda text: text.replace(",", "."))], "19,99"),
    ],
)
async def test_what_the_type_takes_is_not_refused(there: Provider, type_: Any, answer: Any) -> None:
    there.next = Said(tool=TypeAdapter(dict[str, Any]).dump_json({"answer": answer}).decode())
    assert (await ask(call_model(output=schema_of(TypeAdapter(type_))), CHAT)).result == answer
    assert "$comment" not in str(there.sent[0].body)


async def test_an_answer_that_is_missing_loops_back_whoever_decides(there: Provider) -> None:
    loose = {"type": "number", "$comment": TYPE_DECIDES}
    critique = await refused(there, Said(tool="{}"), schema=loose)
    assert critique.reason == "The answer does not fit its schema: 'answer' is a required property."


async def test_an_output_that_is_nested_without_end_loops_back(there: Provider) -> None:
    critique = await refused(there, Said("[" * 100_000))
    assert critique.reason.startswith("The answer is not JSON: ")


@pytest.mark.parametrize("candidate", [OPENAI, CHAT, ANTHROPIC])
@pytest.mark.parametrize("schema", [TRIP, None])
async def test_a_cut_off_answer_loops_back(there: Provider, candidate: str, schema: Any) -> None:
    critique = await refused(there, Said("the beginning of", finish="length"), candidate, schema)
    assert critique == Critique(
        output="the beginning of",
        reason="The answer was cut off at the output limit (max_tokens). Be briefer.",
    )


async def test_an_empty_answer_is_none(there: Provider) -> None:
    there.next = Said("")
    found = await problem(there)
    assert found.retryable


async def test_a_withheld_answer_is_permanent(there: Provider) -> None:
    finish: Finish = "content_filter"
    there.next = Said("I", finish=finish)
    assert not (await problem(there)).retryable


# ---------------------------------------------------------------- models that are objects


async def test_a_model_object_is_called_as_it_is() -> None:
    def echo(messages: list[ModelMessage], info: AgentInfo) -> ModelResponse:
        (tool,) = info.output_tools
        return ModelResponse([TextPart(f'{{"place": "{tool.name}", "price_max": 1}}')])

    reply = await ask(call_model(output=TRIP), FunctionModel(echo, model_name="offline"))
    assert (reply.result, reply.candidate) == ({"place": "answer", "price_max": 1}, "offline")


async def test_a_candidate_has_a_name_even_if_there_is_none() -> None:
    executor = ModelExecutor(App("test", workflows=[], routes=[ModelRoute("interpret", [CHAT])]))
    names = [
        executor.candidate(c) for c in (call_model(), call_model(candidate_index=4), call_model(route="x"))
    ]
    assert names == [CHAT, "interpret[4]", "x[0]"]
