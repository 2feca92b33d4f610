"""The definitions of all metrics of a worker: name, description and labels."""

import platform
from importlib.metadata import PackageNotFoundError, version

from prometheus_client import CollectorRegistry, GCCollector, Info, PlatformCollector, ProcessCollector

from segue.streams.observability.metric_series import ATTEMPT_S, BATCH_RECORDS, COMMIT_S, TASK_S, Declare


class MetricDefinitions:
    """The metrics of one worker, in a registry of their own."""

    def __init__(self, worker: str | None) -> None:
        self.registry = CollectorRegistry()
        self._register_process(worker)
        new = Declare(self.registry)
        self._register_tasks(new)
        self._register_attempts(new)
        self._register_engine(new)

    def _register_process(self, worker: str | None) -> None:
        ProcessCollector(registry=self.registry)
        PlatformCollector(registry=self.registry)
        GCCollector(registry=self.registry)
        build = Info("segue_build", "The worker's version, Python and name.", registry=self.registry)
        build.info({"version": _version(), "python": platform.python_version(), "worker": worker or ""})

    def _register_tasks(self, new: Declare) -> None:
        self._tasks_submitted = new.counter(
            "tasks_submitted",
            "Tasks submitted; a request sent twice with the same id counts twice.",
            "workflow",
        )
        self._tasks_ended = new.counter("tasks_ended", "Tasks that ended.", "workflow", "outcome")
        self._tasks_parked = new.counter(
            "tasks_parked", "Tasks parked because they need other code.", "workflow"
        )
        self._parked_now = new.gauge("parked_tasks", "Tasks parked now.", "partition")
        self._tasks_queued = new.counter(
            "tasks_queued", "Tasks queued because a limit was reached.", "workflow"
        )
        self._task_queue_wait = new.histogram(
            "task_queue_wait_seconds",
            "Seconds that tasks spent queued before they started.",
            TASK_S,
            "priority",
        )
        self._task_seconds = new.histogram(
            "task_duration_seconds",
            "Seconds from a task's submission to its end.",
            TASK_S,
            "workflow",
            "outcome",
        )
        self._steps_started = new.counter(
            "steps_started", "Model and tool steps that workflows requested.", "workflow", "route"
        )
        self._steps_ended = new.counter(
            "steps_ended",
            "Steps that completed, by outcome.",
            "stage",
            "candidate",
            "outcome",
        )
        self._task_usd = new.counter("task_usd", "US dollars spent by tasks that ended.", "workflow")
        self._task_tokens = new.counter("task_tokens", "Tokens consumed by tasks that ended.", "workflow")
        self._questions_asked = new.counter(
            "questions_asked", "Questions that tasks asked people.", "workflow"
        )
        self._questions_closed = new.counter("questions_closed", "Questions closed, by reason.", "reason")
        self._signals = new.counter(
            "signals_received", "Answers, signals and cancellations accepted.", "kind"
        )
        self._timers = new.counter("timers", "Timers set and timers fired.", "event")

    def _register_attempts(self, new: Declare) -> None:
        self._attempt_seconds = new.histogram(
            "attempt_duration_seconds",
            "Seconds that one call of a model, tool or check took.",
            ATTEMPT_S,
            *("stage", "route", "candidate", "outcome"),
        )
        self._failures = new.counter(
            "attempt_failures",
            "Attempts that failed, by reason.",
            "stage",
            "route",
            "candidate",
            "reason",
        )
        self._retries = new.counter("retries", "Calls scheduled for a retry.", "route", "candidate")
        self._reprompts = new.counter(
            "reprompts", "Model calls repeated with the critique of a check.", "route", "candidate"
        )
        self._fallbacks = new.counter(
            "fallbacks", "Calls moved to the next candidate.", "route", "from", "to"
        )
        self._checks = new.counter("checks", "Outputs checked.", "candidate", "outcome")
        self._model_tokens = new.counter(
            "model_tokens", "Tokens that model calls consumed.", "model", "direction"
        )
        self._model_cost_usd = new.counter("model_cost_usd", "US dollars that model calls cost.", "model")
        self._unpriced = new.counter("unpriced_tokens", "Tokens whose price is unknown.", "model")
        self._selections = new.counter(
            "candidate_selections", "Candidates chosen by their route.", "route", "candidate"
        )
        self._in_flight = new.gauge("calls_in_flight", "Calls running now.", "stage")
        self._circuit = new.gauge("circuit_state", "0 closed, 1 half open, 2 open.", "candidate")
        self._circuits_opened = new.counter("circuits_opened", "Circuits that opened.", "candidate")
        self._rate_limit_wait = new.gauge(
            "rate_limit_wait_seconds", "Seconds of the longest wait for a rate limit.", "stage", "limit"
        )

    def _register_engine(self, new: Declare) -> None:
        self._dead_letters = new.counter("dead_letters", "Records sent to dead letters.", "stage", "topic")
        self._lost = new.counter(
            "lost_records", "Offsets removed from a topic before its stage read them.", "stage", "topic"
        )
        self._lag = new.gauge(
            "consumer_lag_records",
            "Records whose offsets are not committed yet.",
            "stage",
            "topic",
            "partition",
        )
        self._served = new.gauge("served_partitions", "Partitions served by this worker.", "stage")
        self._full = new.gauge(
            "full_partitions",
            "Partitions that take no new calls, because a commit can list no more.",
            "stage",
        )
        self._handed_on = new.counter("handed_on", "Records published for a stage to read.", "stage")
        self._restoring = new.gauge(
            "restore_remaining_records", "Changelog records left to read.", "stage", "partition"
        )
        self._batch_records = new.histogram(
            "batch_records", "Records processed in one commit.", BATCH_RECORDS, "stage"
        )
        self._commit_seconds = new.histogram(
            "commit_duration_seconds",
            "Seconds from the publishing of a batch's outputs to its commit.",
            COMMIT_S,
            "stage",
        )


def _version() -> str:
    try:
        return version("segue")
    except PackageNotFoundError:
        return "unknown"  # run from a checkout that is not installed
