"""Stage `health`: what all workers count of each candidate, summed over a window by Faust.

    outcomes ─▶ agent ─┬▶ table `health-state`   the window's panes
                       └▶ table `health`         figures and circuit, for every worker

A table of Faust's is a changelog: the topic `health` that workers follow is that of the second table. Both
hold one entry for each candidate, so neither grows, and who takes a partition over goes on from them.

Faust keeps no promise that a task could rest on (see decision 1), and none does: here a tally that is lost,
or counted twice, moves a share by a little. Whatever ends the app ends a run of this stage alone, which its
supervisor starts again; meanwhile what workers know grows old, and they call as if there were no circuits.
"""

# faust is annotated only in part.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# pyright: reportMissingTypeStubs=false

import asyncio
import logging
from importlib import import_module
from typing import Any

from segue.processors.routing.circuit_breaker import WINDOW, CircuitBreaker, counted, is_news, judged
from segue.streams.observability.metrics import Metrics
from segue.streams.settings import Settings
from segue.topics import codec
from segue.topics.errors import BadRecord
from segue.topics.health import Health, Tally

log = logging.getLogger(__name__)

HEARTBEATS_PER_SESSION = 3
STOP_S_MAX = 5.0
POLL_S = 0.2

QUIET = ("faust", "mode")
"""They tell of each step of starting, and of each timer that was late."""


class HealthRunner:
    """One Faust app for each run; a crash of it ends the run."""

    name = "health"

    def __init__(self, circuits: CircuitBreaker, settings: Settings, worker: str, metrics: Metrics) -> None:
        self._circuits = circuits
        self._settings = settings
        self._worker = worker
        self._metrics = metrics
        self._stopping = asyncio.Event()

    @property
    def ready(self) -> bool:
        """No call waits for this stage, and so no worker does."""
        return True

    async def open(self) -> None: ...

    async def run(self) -> None:
        faust = await asyncio.to_thread(import_module, "faust")  # takes a while: heartbeats go on
        for name in QUIET:
            logging.getLogger(name).setLevel(logging.WARNING)
        app = application(faust, self._circuits, self._settings, self._worker, self._metrics)
        try:
            await app.start()
            while not (self._stopping.is_set() or app.should_stop):  # noqa: ASYNC110 - Faust has two ends
                await asyncio.sleep(POLL_S)
        finally:
            await _stopped(app)
        if app.crash_reason is not None:
            raise app.crash_reason

    async def stop(self) -> None:
        self._stopping.set()

    async def close(self) -> None: ...


def application(
    faust: Any, circuits: CircuitBreaker, settings: Settings, worker: str, metrics: Metrics
) -> Any:
    """A Faust app on the topics of the contracts, which it neither creates nor adds to."""
    app = faust.App(
        settings.group("health"),
        loop=asyncio.get_running_loop(),
        broker=[f"kafka://{server}" for server in settings.bootstrap.split(",")],
        broker_client_id=f"segue-{worker}-health",
        broker_credentials=_credentials(faust, settings),
        broker_session_timeout=settings.session_timeout_ms / 1000,
        broker_heartbeat_interval=settings.session_timeout_ms / 1000 / HEARTBEATS_PER_SESSION,
        datadir=settings.state_dir / worker / "faust",
        store="memory://",
        table_standby_replicas=0,
        topic_allow_declare=False,
        topic_disable_leader=True,
        web_enabled=False,
    )
    panes, healths = _table(app, settings, "health-state"), _table(app, settings, "health")
    outcomes = _topic(app, settings, "outcomes")

    async def sum_up(stream: Any) -> None:
        async for event in stream.events():
            _sum_up(event, panes, healths, circuits, metrics)

    app.agent(outcomes, name="health")(sum_up)
    app.finalize()
    return app


def _sum_up(event: Any, panes: Any, healths: Any, circuits: CircuitBreaker, metrics: Metrics) -> None:
    """Time is the broker's, that of the record."""
    at_ms = round(event.message.timestamp * 1000)
    try:
        tally: Tally = codec.decode("outcomes", event.value)
    except BadRecord as bad:
        log.warning("a record of `outcomes` can't be read and is skipped: %s", bad)
        return
    key, known = event.key, healths.get(event.key)
    window = counted(WINDOW.validate_json(panes.get(key) or b"[]"), tally, at_ms, circuits)
    before = None if known is None else Health.model_validate_json(known)
    health = judged(before, window, tally, at_ms, circuits)
    panes[key] = WINDOW.dump_json(window)
    if is_news(before, health):
        healths[key] = codec.encode(health)
    if health.state == "open" and (before is None or before.state == "closed"):
        metrics.circuit_opened(health.candidate)


def _table(app: Any, settings: Settings, name: str) -> Any:
    return app.Table(
        name,
        key_type=bytes,
        value_type=bytes,
        partitions=settings.partitions,
        changelog_topic=_topic(app, settings, name),
    )


def _topic(app: Any, settings: Settings, name: str) -> Any:
    raw = {"key_type": bytes, "value_type": bytes, "key_serializer": "raw", "value_serializer": "raw"}
    return app.topic(settings.topic(name), **raw)


def _credentials(faust: Any, settings: Settings) -> Any:
    """As the settings have them for aiokafka."""
    options = settings.client_options()
    tls = options.get("ssl_context")
    if "sasl_mechanism" in options:
        return faust.SASLCredentials(
            username=options["sasl_plain_username"],
            password=options["sasl_plain_password"],
            mechanism=options["sasl_mechanism"],
            ssl_context=tls,
        )
    return None if tls is None else faust.SSLCredentials(context=tls)


async def _stopped(app: Any) -> None:
    """Faust's own shutdown waits for much; what a crash left of it must not keep the next run back."""
    try:
        async with asyncio.timeout(STOP_S_MAX):
            await app.stop()
    except TimeoutError:
        log.warning(
            "the Faust app of stage health did not stop within %g s: the worker goes on "
            "without waiting for it",
            STOP_S_MAX,
        )
    except Exception as error:  # noqa: BLE001 - it crashed before, and that is what is told
        log.debug("the Faust app of stage health failed while it was stopping: %s", error)
