"""What a model call costs, in US dollars: by the app's own prices, or by the public list `genai-prices`.

The list comes with its package and is never fetched. Reading it takes a second or more, so a thread does
it, at the first answer of a provider that may be on it. A model that has no price costs what nobody knows:
its tokens are counted, and the log says so once.
"""

import asyncio
import logging
from collections.abc import Mapping
from functools import cache
from typing import Any

from segue.processors.routing.pricing import Price
from segue.topics.extras import require
from segue.topics.parts import Usage

log = logging.getLogger(__name__)

OUTPUT_TOKENS_GUESSED = 500
"""What a model writes is known only when it has: for comparing candidates any number will do."""


class Prices:
    """`own` are the app's, by a candidate's name or by the model's."""

    def __init__(self, own: Mapping[str, Price]) -> None:
        self._own = own
        self._said: set[str] = set()
        self._loaded = False

    async def load(self) -> None:
        if not self._loaded:
            await asyncio.to_thread(_list)
            self._loaded = True

    async def usage(
        self, by: str, counted: Any, model: str | None, provider: str | None, url: str | None
    ) -> Usage:
        """`counted` is Pydantic AI's usage of one request, which `by` has answered."""
        usage = Usage(
            model=model, input_tokens=counted.input_tokens or 0, output_tokens=counted.output_tokens or 0
        )
        usd = self._of_own(by, usage)
        if usd is None and model and (provider or url):
            await self.load()
            usd = _listed(counted, model, provider, url)
        if usd is None and by not in self._said:
            self._said.add(by)
            log.info("no price is known for %s: its tokens count, its cost does not (App(…, prices=…))", by)
        return usage.model_copy(update={"usd": usd})

    def estimate(self, candidate: str, tokens: int) -> float | None:
        """Of a call of that model which sends so many tokens; once the list is loaded."""
        provider, _, model = candidate.rpartition(":")
        usage = Usage(model=model, input_tokens=tokens, output_tokens=OUTPUT_TOKENS_GUESSED)
        usd = self._of_own(candidate, usage)
        if usd is None:
            return _listed(usage, model, provider.removeprefix("gateway/").partition("-")[0], None)
        return usd

    def _of_own(self, by: str, usage: Usage) -> float | None:
        own = self._own.get(by) or self._own.get(usage.model or "")
        return own.of(usage) if own is not None else None


def _listed(usage: Any, model: str, provider: str | None, url: str | None) -> float | None:
    """By the address first, which is more exact: one name may be of several providers."""
    for place in ({"provider_api_url": url}, {"provider_id": provider}):
        if any(place.values()):
            try:
                return float(_list()(_counted(usage), model, **place).total_price)
            except (LookupError, ValueError, TypeError):
                continue
    return None


_COUNTED = ("input_tokens", "cache_write_tokens", "cache_read_tokens", "output_tokens")
"""What prices go by; what is read from a provider's cache is part of its input."""


def _counted(usage: Any) -> Any:
    from genai_prices import Usage as Counted

    return Counted(**{name: getattr(usage, name, None) or None for name in _COUNTED})


@cache
def _list() -> Any:
    require("agents")
    import genai_prices.data
    from genai_prices import calc_price

    assert genai_prices.data.providers
    return calc_price
