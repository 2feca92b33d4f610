"""Settings, all from the environment: `SEGUE_` and the field's name in capitals.

They say where Kafka is and how to speak to it, how names are made there, and what this machine keeps. What
a workflow does is never here: that is code. A bad value is refused with the variable's name and what fits.
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
"""Of `difflib`: a letter or two. `SEGUE_KAFKA_PORT`, as Kubernetes sets it for a service, is another name."""

CALLS_MAX = 20_000
"""More than the tasks with calls in flight of 4 partitions: so urgent calls queue behind no others."""

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
"""Settings by their former names. A former name is refused: ignored, it would join another set of topics."""

Prefix = Annotated[str, Field(max_length=100, pattern=r"^[A-Za-z0-9._-]*$")]
"""Characters that Kafka allows in a topic's name; its 249 leave room for the longest name of ours."""


class Settings(BaseSettings):
    """`Settings.load()` reads the environment and raises an error for people, `Settings()` pydantic's."""

    model_config = SettingsConfigDict(
        env_prefix=ENV_PREFIX, env_ignore_empty=True, frozen=True, extra="forbid"
    )

    kafka: str | None = None
    """Where a cluster answers, `host:port[,host:port]`. None: the local broker, which Segue starts itself."""

    topic_prefix: Prefix = ""
    """Goes before every topic, group and transaction: several Segues on one cluster."""

    guarantee: Literal["exactly_once", "at_least_once"] = "exactly_once"

    partitions: int = Field(default=4, ge=1, le=10_000)
    """Of every topic, once and for all: a task stays on the partition that its id hashes to."""

    replication: int = Field(default_factory=lambda known: 1 if known["kafka"] is None else -1, ge=-1, le=20)
    """Copies of each partition; -1 is the cluster's own default, and the local broker has one."""

    state_dir: Path = Path(".segue")
    """What this machine keeps: the local broker's data and the state of stages, restorable from Kafka."""

    cache_dir: Path = Field(default_factory=lambda: user_cache_path("segue"))
    """Kafka's jars, shared by all checkouts of one user."""

    worker_id: Annotated[str, Field(max_length=100, pattern=r"^[A-Za-z0-9_][A-Za-z0-9._-]*$")] | None = None
    """This worker's name: in its transactional ids and group instance ids, in Kafka's lists of clients and in
    metrics. Each worker needs one of its own."""

    leaves_on_stop: bool = Field(default_factory=lambda known: known.get("worker_id") is None)
    """Whether a worker that is asked to end gives its partitions to the others at once. If not, they wait for
    the next worker of its name, up to the session timeout. Where a name is set, the next one is expected."""

    metrics_port: int = Field(default=9464, ge=0, le=65_535)
    """Prometheus reads from here; 0 is off. Where it is taken, a free one is chosen and logged."""

    metrics_host: str = Field(default="127.0.0.1", min_length=1)
    """Where a worker serves metrics and health: in a container `0.0.0.0`, so that Prometheus and the probes
    reach it from outside."""

    ui_port: int = Field(default=9465, ge=0, le=65_535)
    """Where `segue ui` serves the tasks, and `segue dev` too, for which 0 is off."""

    running_tasks_max: int = Field(default=RUNNING_TASKS_MAX, ge=1)
    """Tasks of each partition with calls in flight; others wait for their turn."""

    model_calls_max: int = Field(default=CALLS_MAX, ge=1)
    """Model calls of a worker at once. Providers are protected by the limits of routes, not by this."""

    tool_calls_max: int = Field(default=CALLS_MAX, ge=1)
    """Tool calls of a worker at once, and checks of outputs as many."""

    tool_threads_max: int = Field(default=2_000, ge=1)
    """Blocking functions (tools that are a plain `def`) of a worker at once: each has a thread of its own."""

    cached_tasks_max: int = Field(default=CACHED_TASKS_MAX, ge=1)
    """Tasks of each partition in memory, about 10 KB each; others are read again when something happens."""

    steps_max: int = Field(default=STEPS_MAX, ge=1)
    """Steps of a task, from its beginning to its end."""

    pending_steps_max: int = Field(default=PENDING_STEPS_MAX, ge=1)
    """Calls and children of a task that have no outcome yet."""

    buffered_signals_max: int = Field(default=BUFFERED_SIGNALS_MAX, ge=1)
    """Signals kept for a task that it has not asked for."""

    open_tasks_per_tenant_max: int | None = Field(default=None, ge=1)
    """Tasks of a tenant that have begun and not ended: more wait. Each partition has its part of it."""

    waiting_tasks_per_tenant_max: int | None = Field(default=None, ge=1)
    """Tasks of a tenant that wait for their turn: more are rejected. Each partition has its part of it."""

    budgets: dict[str, Budget] = Field(default_factory=dict[str, Budget])
    """What each task of a tenant may use, as JSON: `{"acme": {"usd": 0.5}, "*": {"tokens": 200000}}`."""

    security_protocol: Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"] = "PLAINTEXT"
    sasl_mechanism: Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] = "PLAIN"
    sasl_username: str | None = None
    sasl_password: SecretStr | None = None
    ssl_cafile: FilePath | None = None
    ssl_certfile: FilePath | None = None
    ssl_keyfile: FilePath | None = None
    ssl_password: SecretStr | None = None

    object_store_url: str | None = None
    """Where large payloads are kept: a folder, or a URL that fsspec knows, `s3://bucket/segue`. None: beside
    `state_dir`, which only this machine's workers reach."""

    object_retention_s: int = Field(default=30 * 24 * 60 * 60, ge=1)
    """So long after the end of its task an object is kept: as long as `events` and `results` keep theirs."""

    encryption_keys: FilePath | None = None
    """A file with the keys that records, state and objects are encrypted with (`segue keys add` makes it)."""

    clear_until: AwareDatetime | None = None
    """When all workers had the keys, if there were tasks before: what is clear from before is believed.
    A time with its zone, `2026-11-30T18:00:00Z`."""

    payload_bytes_max: int = Field(default=900_000, ge=1_000, le=900_000)
    """The largest input, argument or result; with the rest of its record it stays under Kafka's 1 MB."""

    mcp_token: SecretStr | None = None
    """What each request to `segue mcp --http` must bear. Needed where others than this machine reach it."""

    session_timeout_ms: int = Field(default=10_000, ge=1_000, le=300_000)
    """A worker silent for so long loses its partitions to others. Clusters usually refuse less than 6,000."""

    local_broker_port: int = Field(default=9092, ge=1_024, le=65_535)

    @classmethod
    def load(cls, **given: Any) -> Self:
        """The environment's settings, after those `given`. Raises `BadInput` that names the variable."""
        cls._ensure_names_are_known()
        try:
            settings = cls(**given)
        except ValidationError as error:
            raise BadInput(_explain(error)) from None
        keep_secret(settings._values())
        return settings

    def _values(self) -> dict[str, str]:
        """Each by its name, secrets too: what must not be seen elsewhere."""
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
                raise BadInput(f"{_variable(asked)} is no setting: {_variable(meant[0])} is")

    @field_validator("state_dir", "cache_dir", "encryption_keys")
    @classmethod
    def _anchored(cls, path: Path | None) -> Path | None:
        """Absolute, so that a process which changes its directory keeps its state."""
        return path.expanduser().absolute() if path is not None else None

    @field_validator("object_store_url")
    @classmethod
    def _anchored_objects(cls, place: str | None) -> str | None:
        return place if place is None or "://" in place else str(Path(place).expanduser().absolute())

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        """What is set but would not be used is a mistake, and a dangerous one where it is about security."""
        sasl, tls = "SASL" in self.security_protocol, "SSL" in self.security_protocol
        if sasl and (self.sasl_username is None or self.sasl_password is None):
            raise ValueError(f"{self.security_protocol} needs SEGUE_SASL_USERNAME and SEGUE_SASL_PASSWORD")
        if not sasl and (self.sasl_username or self.sasl_password):
            raise ValueError("SEGUE_SASL_… is set: set SEGUE_SECURITY_PROTOCOL to SASL_SSL, or unset it")
        if not tls and (self.ssl_cafile or self.ssl_certfile or self.ssl_keyfile):
            raise ValueError(
                "SEGUE_SSL_… is set: set SEGUE_SECURITY_PROTOCOL to SASL_SSL or SSL, or unset it"
            )
        if self.ssl_keyfile and not self.ssl_certfile:
            raise ValueError("SEGUE_SSL_KEYFILE needs SEGUE_SSL_CERTFILE, the certificate of that key")
        if self.clear_until is not None and self.encryption_keys is None:
            raise ValueError("SEGUE_CLEAR_UNTIL is set: set SEGUE_ENCRYPTION_KEYS too, or unset it")
        if self.kafka is None and self.security_protocol != "PLAINTEXT":
            raise ValueError("SEGUE_SECURITY_PROTOCOL needs SEGUE_KAFKA: the local broker is PLAINTEXT")
        return self

    @property
    def objects_root(self) -> str:
        """The folder or URL below which objects stand."""
        return self.object_store_url or str(self.state_dir.with_name(f"{self.state_dir.name}-objects"))

    @property
    def bootstrap(self) -> str:
        """Where to connect first, `host:port[,host:port]`."""
        return self.kafka or f"127.0.0.1:{self.local_broker_port}"

    @property
    def limits(self) -> Limits:
        """Those of one partition."""
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
        """Of one partition, rounded up: no partition knows what others hold."""
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
    """One line for each variable: its name and what is wrong. Never its value, which may be a secret."""
    lines: list[str] = []
    for found in error.errors(include_url=False, include_input=False):
        if found["type"] == "default_factory_not_called":  # only says that another field is wrong
            continue
        name = f"{_variable(str(found['loc'][0]))}: " if found["loc"] else ""
        lines.append(name + found["msg"].removeprefix("Value error, "))
    return "\n".join(lines)
