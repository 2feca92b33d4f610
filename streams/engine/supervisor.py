"""Keeps a stage running: whatever ends it, it is started anew from what is committed.

A lost broker, a fenced transaction, a bug: for all of them the way back is the same as after a crash. The
wait between two starts doubles while a stage fails at once, so that an outage costs a line in the log now and
then and not a busy loop; a stage that ran for a while starts again without delay.
"""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from typing import Protocol, cast

from aiokafka.errors import KafkaError, ProducerFenced, UnknownTopicOrPartitionError
from mode import Service

from segue.streams.engine.effect_runner import DRAIN_S
from segue.streams.kafka.protocol import Replaced
from segue.streams.kafka.static_member import NameTaken
from segue.streams.process.user_code import raise_if_ours
from segue.streams.security.acls import lacking
from segue.topics.descriptions import kind_of, text_of
from segue.topics.errors import SegueError, in_words

log = logging.getLogger(__name__)

BACKOFF_S_MIN = 0.1
BACKOFF_S_MAX = 10.0
STOP_S_MAX = DRAIN_S + 10.0
"""Draining, and then a last commit; a broker that can't be reached must not keep a worker from ending."""

SAID_EVERY_S = 60.0
"""What goes on failing for the same reason says so again after so long."""

STEADY_S = 30.0
"""A stage that ran for so long has recovered."""


class Runner(Protocol):
    """A stage on this worker, pure or with effects."""

    name: str

    @property
    def ready(self) -> bool: ...

    async def open(self) -> None: ...

    async def run(self) -> None: ...

    async def stop(self) -> None: ...

    async def close(self) -> None: ...


class SupervisedStage(Service):
    """`provision` makes the topics that are missing, where a run ended by that."""

    def __init__(self, runner: Runner, provision: Callable[[], Awaitable[None]] | None = None) -> None:
        self.runner = runner
        self._provision = provision
        self._looping: asyncio.Task[None] | None = None
        self._said: dict[str, float] = {}
        super().__init__()  # pyright: ignore[reportUnknownMemberType] # mode annotates in part

    @property
    def label(self) -> str:
        return f"stage {self.runner.name}"

    async def on_start(self) -> None:
        await self.runner.open()
        self._looping = asyncio.create_task(self._run(), name=self.label)

    async def on_stop(self) -> None:
        if self._looping is not None:
            await self.runner.stop()
            _, late = await asyncio.wait([self._looping], timeout=STOP_S_MAX)
            if late:
                log.warning(
                    "%s did not stop within %g s: it is cancelled, which has the same effect as a crash",
                    self.label,
                    STOP_S_MAX,
                )
                self._looping.cancel()
                await asyncio.wait(late)
        await self.runner.close()

    async def _run(self) -> None:
        """Again and again, until a run ends by itself: then it was asked to stop."""
        backoff_s = BACKOFF_S_MIN
        while not self.should_stop:
            started_s = time.monotonic()
            try:
                await self.runner.run()
            except GeneratorExit:
                raise
            except BaseException as error:  # noqa: BLE001 - whatever it is, the way back is the same
                raise_if_ours(error)
                if time.monotonic() - started_s > STEADY_S:
                    backoff_s = BACKOFF_S_MIN
                self._explain(_first(error), backoff_s)
                await self._mend(_first(error))
                await self.sleep(backoff_s)
                backoff_s = min(backoff_s * 2, BACKOFF_S_MAX)
            else:
                return

    async def _mend(self, error: BaseException) -> None:
        if self._provision is None or not isinstance(error, UnknownTopicOrPartitionError):
            return
        try:
            await self._provision()
        except SegueError as refused:
            log.error("stage %s: a topic is missing: %s", self.runner.name, refused)

    def _explain(self, error: BaseException, backoff_s: float) -> None:
        if self._was_said(in_words(error)):
            return
        stage, again = self.runner.name, f"it starts again in {backoff_s:g} s from what is committed"
        if isinstance(error, NameTaken):
            log.error("stage %s: %s", stage, error.args[0])
        elif isinstance(error, Replaced | ProducerFenced):
            log.info("stage %s lost its partitions to another worker (%s); %s", stage, error, again)
        elif isinstance(error, KafkaError) and (right := lacking(error, stage)):
            log.error("stage %s: %s; %s", stage, right, again)
        elif isinstance(error, KafkaError | SegueError | OSError):
            log.warning("stage %s: %s; %s", stage, text_of(error) or kind_of(error), again)
        else:
            log.error("stage %s failed, which is a bug; %s", stage, again, exc_info=error)

    def _was_said(self, reason: str) -> bool:
        """Within `SAID_EVERY_S`, in these words."""
        now_s = time.monotonic()
        recent = {said: at_s for said, at_s in self._said.items() if now_s - at_s < SAID_EVERY_S}
        self._said = {reason: now_s} | recent
        return reason in recent


def _first(error: BaseException) -> BaseException:
    while isinstance(error, BaseExceptionGroup):
        error = cast("BaseExceptionGroup[BaseException]", error).exceptions[0]
    return error
