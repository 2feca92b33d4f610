"""Settings, all from the environment: `SEGUE_` and the field's name in capitals.

They set how to connect to Kafka, how names on it are built, and what this machine stores. No setting changes
what a workflow does: code does. An invalid value raises an error that names the variable and the valid
values.
"""

import os
import ssl
from difflib import get_close_matches
from math import ceil
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from platformdirs import user_cache_path
from pydantic import (
    AwareDatetime,
    Field,
    FilePath,
    SecretStr,
    ValidationError,
    field_validator,
    model_validator,
)
from pydantic_settings import BaseSettings, SettingsConfigDict

from segue.processors.limits import BUFFERED_SIGNALS_MAX, CACHED_TASKS_MAX, RUNNING_TASKS_MAX, Limits
from segue.streams.text.redaction import keep_secret
from segue.topics.errors import BadInput
from segue.topics.parts import Budget
from segue.topics.records import PENDING_STEPS_MAX, STEPS_MAX

ENV_PREFIX = "SEGUE_"

SIMILAR = 0.8
"""The cutoff for `difflib`: it finds names that differ by a letter or two, but not `SEGUE_KAFKA_PORT`, which
Kubernetes sets for a service."""

CALLS_MAX = 20_000
"""More than the tasks with calls in flight of 4 partitions, so that no urgent call queues behind others."""

RENAMED = {
    "busy_tasks_max": "running_tasks_max",
    "early_signals_max": "buffered_signals_max",
    "live_tasks_max": "cached_tasks_max",
    "objects": "object_store_url",
    "objects_kept_s": "object_retention_s",
    "open_steps_max": "pending_steps_max",
    "page_port": "ui_port",
    "prefix": "topic_prefix",
    "worker": "worker_id",
}
"""The new name of each renamed setting. A former name is an error: if it were ignored, the worker could use
another set of topics."""

Prefix = Annotated[str, Field(max_length=100, pattern=r"^[A-Za-z0-9._-]*$")]
"""The characters that Kafka allows in a topic's name. Kafka allows 249 of them, so Segue's longest name fits
after the prefix."""


class Settings(BaseSettings):
    """The settings. `Settings.load()` reads the environment and raises a readable `BadInput`; `Settings()`
    raises pydantic's error."""

    model_config = SettingsConfigDict(
        env_prefix=ENV_PREFIX, env_ignore_empty=True, frozen=True, extra="forbid"
    )

    kafka: str | None = None
    """The address of a cluster, `host:port[,host:port]`. If None, Segue starts and uses the local broker."""

    topic_prefix: Prefix = ""
    """A prefix for the name of every topic, group and transaction, so that several Segues can share a
    cluster."""

    guarantee: Literal["exactly_once", "at_least_once"] = "exactly_once"

    partitions: int = Field(default=4, ge=1, le=10_000)
    """The number of partitions of every topic. It can't be changed later, because a task stays on the
    partition that its id hashes to."""

    replication: int = Field(default_factory=lambda known: 1 if known["kafka"] is None else -1, ge=-1, le=20)
    """The number of copies of each partition. -1 uses the cluster's default; the local broker keeps one
    copy."""

    state_dir: Path = Path(".segue")
    """The folder for the local broker's data and for the state of stages, which can be restored from
    Kafka."""

    cache_dir: Path = Field(default_factory=lambda: user_cache_path("segue"))
    """The folder for Kafka's jars. All checkouts of one user share it."""

    worker_id: Annotated[str, Field(max_length=100, pattern=r"^[A-Za-z0-9_][A-Za-z0-9._-]*$")] | None = None
    """This worker's name. Its transactional ids, its group instance ids, Kafka's lists of clients and the
    metrics contain it. Each worker needs a different name."""

    leaves_on_stop: bool = Field(default_factory=lambda known: known.get("worker_id") is None)
    """If true, a worker that stops gives its partitions to the other workers at once. If false, the
    partitions wait for the next worker with the same name, up to the session timeout. False by default when
    `worker_id` is set, because a worker with that name is then expected to start again."""

    metrics_port: int = Field(default=9464, ge=0, le=65_535)
    """The port for Prometheus; 0 turns it off. If the port is in use, the worker chooses a free one and logs
    it."""

    metrics_host: str = Field(default="127.0.0.1", min_length=1)
    """The address at which a worker serves metrics and health. Set `0.0.0.0` in a container, so that
    Prometheus and the probes can reach it from outside."""

    ui_port: int = Field(default=9465, ge=0, le=65_535)
    """The port of the web page that `segue ui` and `segue dev` serve. For `segue dev`, 0 turns the page
    off."""

    running_tasks_max: int = Field(default=RUNNING_TASKS_MAX, ge=1)
    """The most tasks of each partition that can have calls in flight. Further tasks are queued."""

    model_calls_max: int = Field(default=CALLS_MAX, ge=1)
    """The most model calls that a worker runs at once. To protect a provider, set the rate limits of routes
    instead."""

    tool_calls_max: int = Field(default=CALLS_MAX, ge=1)
    """The most tool calls that a worker runs at once. The same maximum holds for checks of outputs, counted
    apart."""

    tool_threads_max: int = Field(default=2_000, ge=1)
    """Blocking functions (tools that are a plain `def`) of a worker at once: each has a thread of its own."""

    cached_tasks_max: int = Field(default=CACHED_TASKS_MAX, ge=1)
    """The most tasks of each partition in memory, about 10 KB each. The worker reads the others again when
    they get an event."""

    steps_max: int = Field(default=STEPS_MAX, ge=1)
    """The most steps of a task, from its beginning to its end."""

    pending_steps_max: int = Field(default=PENDING_STEPS_MAX, ge=1)
    """The most calls and children of a task that have no outcome yet."""

    buffered_signals_max: int = Field(default=BUFFERED_SIGNALS_MAX, ge=1)
    """The most signals that are buffered for a task before its workflow waits for them."""

    open_tasks_per_tenant_max: int | None = Field(default=None, ge=1)
    """The most tasks of a tenant that have begun and not ended. Further tasks are queued. The number is
    divided among the partitions."""

    waiting_tasks_per_tenant_max: int | None = Field(default=None, ge=1)
    """The most tasks of a tenant that are queued. Further tasks are rejected. The number is divided among the
    partitions."""

    budgets: dict[str, Budget] = Field(default_factory=dict[str, Budget])
    """The budget of each task, by tenant, as JSON: `{"acme": {"usd": 0.5}, "*": {"tokens": 200000}}`."""

    security_protocol: Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"] = "PLAINTEXT"
    sasl_mechanism: Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] = "PLAIN"
    sasl_username: str | None = None
    sasl_password: SecretStr | None = None
    ssl_cafile: FilePath | None = None
    ssl_certfile: FilePath | None = None
    ssl_keyfile: FilePath | None = None
    ssl_password: SecretStr | None = None

    object_store_url: str | None = None
    """The store for large payloads: a folder, or a URL that fsspec knows, such as `s3://bucket/segue`. If
    None, a folder next to `state_dir`, which only the workers of this machine can reach."""

    object_retention_s: int = Field(default=30 * 24 * 60 * 60, ge=1)
    """How many seconds an object is kept after its task has ended. The default is the retention of `events`
    and `results`."""

    encryption_keys: FilePath | None = None
    """The file with the keys that encrypt records, state and objects. `segue keys add` creates it."""

    clear_until: AwareDatetime | None = None
    """The time at which all workers had the keys. Set it if there were tasks before encryption: unencrypted
    data from before that time is accepted. A time with its zone, such as `2026-11-30T18:00:00Z`."""

    payload_bytes_max: int = Field(default=900_000, ge=1_000, le=900_000)
    """The largest input, argument or result, in bytes. With the rest of its record it stays below Kafka's 1
    MB."""

    mcp_token: SecretStr | None = None
    """The token that each request to `segue mcp --http` must contain. Required if other machines can reach
    it."""

    session_timeout_ms: int = Field(default=10_000, ge=1_000, le=300_000)
    """A worker that sends no heartbeat for this time loses its partitions to other workers. Clusters usually
    refuse less than 6,000."""

    local_broker_port: int = Field(default=9092, ge=1_024, le=65_535)

    @classmethod
    def load(cls, **given: Any) -> Self:
        """Return the settings: those `given`, then the environment's. Raise a `BadInput` that names the
        variable."""
        cls._ensure_names_are_known()
        try:
            settings = cls(**given)
        except ValidationError as error:
            raise BadInput(_explain(error)) from None
        keep_secret(settings._values())
        return settings

    def _values(self) -> dict[str, str]:
        """Return all values by name, secrets included. They must not appear in logs or records."""
        return {
            name: value.get_secret_value() if isinstance(value, SecretStr) else str(value)
            for name, value in self
        }

    @classmethod
    def _ensure_names_are_known(cls) -> None:
        """Refuse former and misspelt names: with `SEGUE_KAFAK` set, a local broker would be started."""
        ours = [name for name in map(str.upper, os.environ) if name.startswith(ENV_PREFIX)]
        for asked in (name.removeprefix(ENV_PREFIX).lower() for name in ours):
            if (renamed := RENAMED.get(asked)) is not None:
                raise BadInput(f"{_variable(asked)} has a new name: set {_variable(renamed)} instead")
            meant = get_close_matches(asked, cls.model_fields, 1, SIMILAR)
            if meant and asked not in cls.model_fields:
                raise BadInput(f"{_variable(asked)} is not a setting: did you mean {_variable(meant[0])}?")

    @field_validator("state_dir", "cache_dir", "encryption_keys")
    @classmethod
    def _anchored(cls, path: Path | None) -> Path | None:
        """Make the path absolute, so that a process which changes its directory keeps its state."""
        return path.expanduser().absolute() if path is not None else None

    @field_validator("object_store_url")
    @classmethod
    def _anchored_objects(cls, place: str | None) -> str | None:
        return place if place is None or "://" in place else str(Path(place).expanduser().absolute())

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        """Refuse settings that would have no effect: they are mistakes, and dangerous when they concern
        security."""
        sasl, tls = "SASL" in self.security_protocol, "SSL" in self.security_protocol
        if sasl and (self.sasl_username is None or self.sasl_password is None):
            raise ValueError(f"{self.security_protocol} needs SEGUE_SASL_USERNAME and SEGUE_SASL_PASSWORD")
        if not sasl and (self.sasl_username or self.sasl_password):
            raise ValueError(
                "SEGUE_SASL_… has no effect without SASL: "
                "set SEGUE_SECURITY_PROTOCOL to SASL_SSL, or unset it"
            )
        if not tls and (self.ssl_cafile or self.ssl_certfile or self.ssl_keyfile):
            raise ValueError(
                "SEGUE_SSL_… has no effect without TLS: "
                "set SEGUE_SECURITY_PROTOCOL to SASL_SSL or SSL, or unset it"
            )
        if self.ssl_keyfile and not self.ssl_certfile:
            raise ValueError("SEGUE_SSL_KEYFILE needs SEGUE_SSL_CERTFILE, the certificate of that key")
        if self.clear_until is not None and self.encryption_keys is None:
            raise ValueError(
                "SEGUE_CLEAR_UNTIL has no effect without keys: set SEGUE_ENCRYPTION_KEYS too, or unset it"
            )
        if self.kafka is None and self.security_protocol != "PLAINTEXT":
            raise ValueError("SEGUE_SECURITY_PROTOCOL needs SEGUE_KAFKA: the local broker is PLAINTEXT")
        return self

    @property
    def objects_root(self) -> str:
        """The folder or URL of the object store."""
        return self.object_store_url or str(self.state_dir.with_name(f"{self.state_dir.name}-objects"))

    @property
    def bootstrap(self) -> str:
        """The bootstrap addresses, `host:port[,host:port]`."""
        return self.kafka or f"127.0.0.1:{self.local_broker_port}"

    @property
    def limits(self) -> Limits:
        """The limits of one partition."""
        return Limits(
            running_tasks_max=self.running_tasks_max,
            cached_tasks_max=self.cached_tasks_max,
            steps_max=self.steps_max,
            pending_steps_max=self.pending_steps_max,
            buffered_signals_max=self.buffered_signals_max,
            open_tasks_per_tenant_max=self._part(self.open_tasks_per_tenant_max),
            waiting_tasks_per_tenant_max=self._part(self.waiting_tasks_per_tenant_max),
            budgets=self.budgets,
        )

    def _part(self, most: int | None) -> int | None:
        """Return the part of one partition, rounded up: a partition does not know the tasks of the others."""
        return None if most is None else ceil(most / self.partitions)

    def client_options(self) -> dict[str, Any]:
        """Keyword arguments that every aiokafka consumer, producer and admin client takes."""
        options: dict[str, Any] = {
            "bootstrap_servers": self.bootstrap,
            "client_id": f"segue-{self.worker_id}" if self.worker_id else "segue",
            "security_protocol": self.security_protocol,
        }
        if "SSL" in self.security_protocol:
            options["ssl_context"] = self._ssl_context()
        if self.sasl_username is not None and self.sasl_password is not None:
            options["sasl_mechanism"] = self.sasl_mechanism
            options["sasl_plain_username"] = self.sasl_username
            options["sasl_plain_password"] = self.sasl_password.get_secret_value()
        return options

    def topic(self, name: str) -> str:
        """The name on the cluster of the topic with this contract name."""
        return self.topic_prefix + name

    def group(self, stage: str) -> str:
        """The consumer group of a stage."""
        return f"{self.topic_prefix}segue-{stage}"

    def _ssl_context(self) -> ssl.SSLContext:
        password = self.ssl_password.get_secret_value() if self.ssl_password else None
        try:
            context = ssl.create_default_context(cafile=self.ssl_cafile)
            if self.ssl_certfile:
                context.load_cert_chain(self.ssl_certfile, self.ssl_keyfile, password)
        except (ssl.SSLError, OSError) as error:
            raise BadInput(f"SEGUE_SSL_…: a certificate or key can't be read: {error}") from None
        return context


def _variable(field: str) -> str:
    return f"{ENV_PREFIX}{field}".upper()


def _explain(error: ValidationError) -> str:
    """Return a line for each variable: its name and its error, never its value, which may be a secret."""
    lines: list[str] = []
    for found in error.errors(include_url=False, include_input=False):
        if found["type"] == "default_factory_not_called":  # only says that another field is wrong
            continue
        name = f"{_variable(str(found['loc'][0]))}: " if found["loc"] else ""
        lines.append(name + found["msg"].removeprefix("Value error, "))
    return "\n".join(lines)
