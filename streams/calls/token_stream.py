"""Tells what a model writes while it writes it: the topic `tokens`, for those who watch.

    the provider's pieces ─▶ TokenPublisher ─▶ a record every `PUBLISH_S` ─▶ BestEffortProducer ─▶ `tokens`

The records are published outside of the commits: the call's outcome does not wait for them. The step `Stream`
makes the publisher of an attempt and ends it; the executor that calls the provider gets it with the call.
"""

import asyncio
from typing import Protocol

from segue.streams.kafka.broker_clock import now_ms
from segue.topics.records import CallModel, Record
from segue.topics.tokens import TextState, Tokens

PUBLISH_S = 0.25
"""Four records a second are a text that flows, and few enough for a thousand calls at once."""

TEXT_CHARS_MAX = 20_000
"""Of one record: more comes at once only from a provider that does not stream."""


class RecordSink(Protocol):
    """A producer of records that may be lost, such as `BestEffortProducer`."""

    def tell(self, topic: str, key: str, record: Record, tenant: str | None = None) -> None: ...


class TokenPublisher:
    """The text of one attempt."""

    def __init__(
        self, best_effort_producer: RecordSink, call: CallModel, by: str, tenant: str | None
    ) -> None:
        self._best_effort_producer = best_effort_producer
        self._call = call
        self._by = by
        self._tenant = tenant
        self._begun_ms = now_ms()
        self._gathered: list[str] = []
        self._number = 0
        self._timer: asyncio.TimerHandle | None = None

    def add(self, text: str) -> None:
        """The first piece goes out with whatever follows it at once, the next ones not before `PUBLISH_S`."""
        self._gathered.append(text)
        if self._timer is None:
            wait_s = PUBLISH_S if self._number else 0.0
            self._timer = asyncio.get_running_loop().call_later(wait_s, self._tell, "running")

    def end(self, state: TextState) -> None:
        """Of an attempt that wrote nothing, nothing is told."""
        if self._timer is not None:
            self._timer.cancel()
        if self._number or self._gathered:
            self._tell(state)

    def _tell(self, state: TextState) -> None:
        self._timer = None
        text, self._gathered = "".join(self._gathered), []
        pieces = [text[at : at + TEXT_CHARS_MAX] for at in range(0, len(text), TEXT_CHARS_MAX)] or [""]
        for piece in pieces[:-1]:
            self._publish(piece, "running")
        self._publish(pieces[-1], state)

    def _publish(self, text: str, state: TextState) -> None:
        call = self._call
        tokens = Tokens(
            task=call.task,
            step=call.step,
            attempt=call.attempt,
            route=call.route,
            candidate=self._by,
            number=self._number,
            text=text.encode(errors="replace").decode(),  # half of a character would be no JSON
            state=state,
            begun_ms=self._begun_ms,
            at_ms=now_ms(),
        )
        self._number += 1
        self._best_effort_producer.tell("tokens", call.task, tokens, self._tenant)
