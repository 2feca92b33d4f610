"""All that an app needs, on this machine: Kafka, its topics, its services, and a worker in this process.

Everything that can start beside something else does, since somebody waits for it.
"""

import asyncio
import logging
from collections.abc import AsyncGenerator, Callable, Generator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from pathlib import Path

from segue.processors.app.app import App
from segue.streams.calls.failures import Redacting
from segue.streams.client.client import Client
from segue.streams.engine.resumption import Report, log_resumed
from segue.streams.engine.worker import Worker
from segue.streams.local.broker import ensure_broker
from segue.streams.local.services import Services
from segue.streams.settings import Settings
from segue.topics.errors import BadInput


def _silent(_: str) -> None:
    pass


@asynccontextmanager
async def development(
    app: App,
    settings: Settings,
    say: Callable[[str], None] = _silent,
    resumed: Report = log_resumed,
) -> AsyncGenerator[Client]:
    """A client to the running app. The broker goes on when the block ends; the rest is stopped.

    `say` gets a line for people about what takes long, `resumed` each task that goes on. Logs go to
    `dev.log` in the state folder. Raises `Unavailable` or `BadInput` with what to do.
    """
    async with AsyncExitStack() as stack:
        stack.enter_context(_log_to(settings.state_dir / "dev.log"))
        services = Services(app.services, settings.state_dir / "services")
        stack.push_async_callback(services.stop)
        worker = Worker(app, settings, resumed=resumed)
        stack.push_async_callback(worker.stop)
        if (intruded := worker.lock.intruded()) is not None:
            raise BadInput(intruded)
        starting = asyncio.create_task(services.start())
        stack.push_async_callback(_abandon, starting)
        await ensure_broker(settings, say)
        await worker.start()
        await starting
        yield await stack.enter_async_context(Client(settings))


async def _abandon(starting: asyncio.Task[None]) -> None:
    """Of services that still start when something else has failed, the first failure is the one to tell."""
    starting.cancel()
    await asyncio.gather(starting, return_exceptions=True)


@contextmanager
def _log_to(path: Path) -> Generator[None]:
    """The screen is for the task: what the worker logs goes to a file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handler = logging.FileHandler(path)
    handler.setFormatter(Redacting("%(asctime)s %(levelname)-7s %(name)s: %(message)s"))
    root = logging.getLogger()
    level = root.level
    root.addHandler(handler)
    root.setLevel(logging.INFO)
    try:
        yield
    finally:
        root.setLevel(level)
        root.removeHandler(handler)
        handler.close()
