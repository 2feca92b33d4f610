"""What a call costs: by the app's prices, by the public list, or unknown and said so."""

import logging

import pytest
from pydantic_ai.usage import RequestUsage

from segue import BadInput
from segue.processors.routing.pricing import Price
from segue.streams.calls.pricing import Prices
from segue.topics.parts import Usage

COUNTED = RequestUsage(input_tokens=1_000_000, output_tokens=100_000)


async def test_the_public_list_knows_the_public_models() -> None:
    prices = Prices({})
    usage = await prices.usage("openai:gpt-4o", COUNTED, "gpt-4o-2024-08-06", "openai", None)
    assert usage == Usage(model="gpt-4o-2024-08-06", input_tokens=1_000_000, output_tokens=100_000, usd=3.5)
    assert prices.estimate("openai:gpt-4o", 1_000_000) == pytest.approx(2.505)
    assert prices.estimate("openai-responses:gpt-4o", 0) == pytest.approx(0.005)


async def test_what_a_provider_has_cached_costs_less() -> None:
    cached = RequestUsage(input_tokens=1_000_000, cache_read_tokens=1_000_000)
    usage = await Prices({}).usage("openai:gpt-4o", cached, "gpt-4o", "openai", None)
    assert usage.usd == pytest.approx(1.25)


async def test_an_unknown_model_has_no_price_and_the_log_says_so_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO)
    prices = Prices({})
    for _ in range(2):
        assert (await prices.usage("ollama:qwen3", COUNTED, "qwen3", "ollama", None)).usd is None
    assert prices.estimate("ollama:qwen3", 100) is None
    assert [record.message for record in caplog.records if record.name == "segue.streams.calls.pricing"] == [
        "no price is known for ollama:qwen3: its tokens count, its cost does not (App(…, prices=…))"
    ]


async def test_the_apps_own_price_goes_before_the_list_and_may_be_nothing() -> None:
    prices = Prices({"openai:gpt-4o": Price(input=1, output=0), "qwen3": Price(input=0, output=0)})
    assert (await prices.usage("openai:gpt-4o", COUNTED, "gpt-4o", "openai", None)).usd == 1.0
    assert (await prices.usage("ollama:qwen3", COUNTED, "qwen3", "ollama", None)).usd == 0.0
    assert prices.estimate("ollama:qwen3", 100) == 0.0


def test_a_price_is_not_less_than_nothing() -> None:
    with pytest.raises(BadInput, match="a price must be 0 or more"):
        Price(input=-1, output=0)
