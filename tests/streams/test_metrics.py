import asyncio
import inspect
import logging
import threading
from collections.abc import AsyncIterator
from typing import Any, get_args

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from segue.processors.app.app import App
from segue.processors.routing.circuit_breaker import CircuitBreaker
from segue.processors.routing.routes import ModelRoute
from segue.streams.observability import metric_series as series
from segue.streams.observability.metrics import Metrics
from segue.topics import contracts
from segue.topics.flow import Publish
from segue.topics.records import AttemptFailed, Problem, Record
from tests.streams.worked import APP, HISTORY, SUCCEEDED, asks, calls, worked

COUNTED = {
    'segue_attempt_failures_total{stage="check",route="rank",candidate="openai:large",reason="Busy"}': 2,
    'segue_attempt_failures_total{stage="tool",route="search",candidate="hotels.search",reason="Busy"}': 1,
    'segue_checks_total{candidate="openai:large",outcome="accepted"}': 1,
    'segue_checks_total{candidate="openai:large",outcome="failed"}': 1,
    'segue_checks_total{candidate="openai:large",outcome="refused"}': 1,
    'segue_candidate_selections_total{route="rank",candidate="openai:large"}': 1,
    'segue_circuits_opened_total{candidate="hotels.search"}': 1,
    'segue_reprompts_total{route="rank",candidate="openai:large"}': 1,
    'segue_dead_letters_total{stage="intake",topic="tasks"}': 1,
    'segue_fallbacks_total{route="search",from="hotels.search",to="hotels.browse"}': 1,
    'segue_lost_records_total{stage="tool",topic="tool-calls"}': 3,
    'segue_questions_asked_total{workflow="book"}': 1,
    'segue_questions_closed_total{reason="answered"}': 1,
    'segue_retries_total{route="search",candidate="hotels.search"}': 1,
    'segue_signals_received_total{kind="answered"}': 1,
    'segue_signals_received_total{kind="cancel_requested"}': 1,
    'segue_signals_received_total{kind="signal_received"}': 1,
    'segue_steps_ended_total{stage="check",candidate="openai:large",outcome="succeeded"}': 1,
    'segue_steps_ended_total{stage="model",candidate="openai:large",outcome="succeeded"}': 1,
    'segue_steps_ended_total{stage="recover",candidate="hotels.browse",outcome="failed"}': 1,
    'segue_steps_ended_total{stage="tool",candidate="hotels.search",outcome="succeeded"}': 1,
    'segue_steps_started_total{workflow="book",route="rank"}': 1,
    'segue_steps_started_total{workflow="book",route="search"}': 1,
    'segue_task_tokens_total{workflow="book"}': 240,
    'segue_task_usd_total{workflow="book"}': 0.5,
    'segue_tasks_ended_total{workflow="book",outcome="succeeded"}': 1,
    'segue_tasks_ended_total{workflow="unknown",outcome="rejected"}': 1,
    'segue_tasks_parked_total{workflow="book"}': 1,
    'segue_tasks_queued_total{workflow="book"}': 1,
    'segue_tasks_submitted_total{workflow="book"}': 1,
    'segue_timers_total{event="fired"}': 1,
    'segue_timers_total{event="set"}': 1,
    'segue_model_tokens_total{model="large",direction="input"}': 240,
    'segue_model_tokens_total{model="large",direction="output"}': 60,
    'segue_unpriced_tokens_total{model="large"}': 150,
    'segue_model_cost_usd_total{model="large"}': 0.5,
}


def samples(metrics: Metrics) -> dict[str, float]:
    return {
        sample.name
        + "{"
        + ",".join(f'{name}="{value}"' for name, value in sample.labels.items())
        + "}": sample.value
        for family in metrics.registry.collect()
        for sample in family.samples
        if sample.name.startswith("segue_") and not sample.name.endswith("_created")
    }


def test_the_counters_are_a_fold_over_what_was_published() -> None:
    found = samples(worked())
    assert {name: value for name, value in found.items() if value and "_total{" in name} == COUNTED


def test_what_alerts_watch_is_there_from_the_start_so_that_the_first_is_a_rise() -> None:
    found = samples(Metrics(APP))
    assert found['segue_dead_letters_total{stage="conduct",topic="events"}'] == 0
    assert found['segue_lost_records_total{stage="tool",topic="tool-calls"}'] == 0
    assert found['segue_tasks_parked_total{workflow="book"}'] == 0
    assert found['segue_fallbacks_total{route="rank",from="openai:large",to="ollama:small"}'] == 0


def test_of_circuits_nothing_is_told_where_an_app_has_none() -> None:
    def judged(circuits: CircuitBreaker | None) -> list[str]:
        app = App("a", workflows=[], routes=[ModelRoute("rank", ["ollama:small"])], circuit_breaker=circuits)
        return [name for name in samples(Metrics(app)) if "circuit" in name or "health" in name]

    assert judged(None) == []
    assert 'segue_circuits_opened_total{candidate="ollama:small"}' in judged(CircuitBreaker())


def test_a_task_is_timed_from_its_submission_to_its_end() -> None:
    found = samples(worked())
    assert found['segue_task_duration_seconds_sum{workflow="book",outcome="succeeded"}'] == 60


def test_every_kind_of_record_on_every_topic_is_counted_or_known_not_to_be() -> None:
    """The laws of the fold hold for records that exist: one that is new must be put into `worked`."""
    decided = [topic for topic in contracts.ALL if topic.written_by != ("outside",) and not topic.beside]
    written = {kind for topic in decided for kind in _kinds(topic.type)}
    assert written == {type(record).__name__ for _, record in HISTORY}


def _kinds(contract: Any) -> set[str]:
    if inspect.isclass(contract) and issubclass(contract, Record):
        return {contract.__name__}
    return {kind for part in get_args(contract) for kind in _kinds(part)}


def test_no_label_holds_a_task_id() -> None:
    assert [name for name in samples(worked()) if "t-1" in name] == []


def test_exceptions_of_endlessly_many_names_end_as_other(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(series, "SERIES_MAX", 2)
    metrics = Metrics(APP)
    metrics.published("tool", [_failed(f"Error{n}") for n in range(5)])
    found = [name for name in samples(metrics) if name.startswith("segue_attempt_failures_total")]
    assert [name.split('reason="')[1] for name in found] == ['Error0"}', 'Error1"}', 'other"}']


def _failed(reason: str) -> Publish:
    problem = Problem(type=reason, message="")
    return Publish(
        "failures", "t", AttemptFailed(task="t", call=calls(), candidate="x", problem=problem, at_ms=0)
    )


def test_a_candidate_that_this_worker_does_not_know_is_its_number() -> None:
    metrics = Metrics(APP)
    metrics.published("recover", [Publish("model-calls", "t", asks(route="removed", candidate_index=3))])
    assert samples(metrics)['segue_fallbacks_total{route="removed",from="2",to="3"}'] == 1


def test_a_revoked_partition_has_no_lag_here() -> None:
    metrics = worked()
    metrics.lag("conduct", "events", 3, 5)
    metrics.revoked("conduct", 2)
    left = [name for name in samples(metrics) if "lag" in name or "restore" in name]
    assert left == ['segue_consumer_lag_records{stage="conduct",topic="events",partition="3"}']


def test_a_circuit_is_told_as_it_stands_when_somebody_asks() -> None:
    metrics, state = Metrics(APP), ["closed"]
    metrics.circuit("ollama:small", lambda: state[0])  # type: ignore[arg-type,return-value]
    told: list[float] = []
    for state[0] in ("closed", "half_open", "open"):
        told.append(samples(metrics)['segue_circuit_state{candidate="ollama:small"}'])
    assert told == [0, 1, 2]


def test_a_call_that_ended_is_no_longer_in_flight() -> None:
    metrics, running = worked(), {"a call"}
    metrics.in_flight("tool", lambda: len(running))
    running.clear()
    assert samples(metrics)['segue_calls_in_flight{stage="tool"}'] == 0


def test_two_workers_in_one_process_count_apart() -> None:
    one, other = Metrics(APP), Metrics(APP)
    one.published("tool", [Publish("events", "t-1", SUCCEEDED)])
    assert any("steps_ended" in name for name in samples(one))
    assert not any("steps_ended" in name for name in samples(other))


# ---------------------------------------------------------------- over HTTP


class Worker:
    """What the server asks: is it ready? Only ever asked on the event loop."""

    def __init__(self) -> None:
        self.is_ready = False
        self.asked_on: list[str] = []

    def ready(self) -> bool:
        self.asked_on.append(threading.current_thread().name)
        return self.is_ready


@pytest.fixture
async def worker() -> Worker:
    return Worker()


@pytest.fixture
async def http(worker: Worker) -> AsyncIterator[httpx.AsyncClient]:
    metrics = worked()
    port = await metrics.serve("127.0.0.1", 0, worker.ready)
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}") as client:
        yield client
    await metrics.close()


async def test_prometheus_reads_what_was_counted(http: httpx.AsyncClient) -> None:
    text = (await http.get("/metrics")).text
    families = {family.name for family in text_string_to_metric_families(text)}
    assert {
        "segue_build_info",
        "segue_tasks_ended",
        "process_resident_memory_bytes",
        "python_info",
    } <= families


async def test_openmetrics_is_given_to_those_who_ask_for_it(http: httpx.AsyncClient) -> None:
    accept = {"Accept": "application/openmetrics-text; version=1.0.0"}
    answer = await http.get("/metrics", headers=accept)
    assert answer.headers["content-type"].startswith("application/openmetrics-text")
    assert answer.text.endswith("# EOF\n")


async def test_a_worker_is_ready_once_it_says_so_on_its_own_loop(
    http: httpx.AsyncClient, worker: Worker
) -> None:
    before = await http.get("/readyz")
    worker.is_ready = True
    after = await http.get("/readyz")
    assert [(r.status_code, r.text) for r in (before, after)] == [
        (503, "not all partitions are restored yet\n"),
        (200, "ok\n"),
    ]
    assert set(worker.asked_on) == {threading.main_thread().name}


async def test_a_worker_whose_loop_is_stuck_is_not_healthy(
    http: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("segue.streams.observability.metrics_server.LOOP_ANSWERS_S", 0.05)
    answers: list[httpx.Response] = []
    assert (await http.get("/healthz")).status_code == 200
    asking = threading.Thread(target=lambda: answers.append(httpx.get(http.base_url.join("/healthz"))))
    asking.start()
    asking.join()  # meanwhile this event loop stands still
    assert [a.status_code for a in answers] == [503]


async def test_any_other_path_says_which_there_are(http: httpx.AsyncClient) -> None:
    answer = await http.get("/")
    assert (answer.status_code, answer.text) == (404, "there are /metrics, /healthz and /readyz\n")


async def test_where_the_port_is_taken_the_next_one_is_chosen_and_logged(
    caplog: pytest.LogCaptureFixture,
) -> None:
    first, second = worked(), worked()
    taken = await first.serve("127.0.0.1", 0, lambda: True)
    with caplog.at_level(logging.WARNING, "segue.streams.observability.metrics_server"):
        port = await second.serve("127.0.0.1", taken, lambda: True)
    assert taken < port
    assert caplog.messages == [f"port {taken} is in use: metrics are on http://localhost:{port}/metrics"]
    await asyncio.gather(first.close(), second.close())
