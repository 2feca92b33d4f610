"""Encryption of what records hold, at the boundary: stages see clear bytes, Kafka and disks see sealed ones.

    Received  ◀─ open ─ value, headers            Outgoing ─ seal ─▶ value, headers
    State     ◀─ open ─ RocksDB                   Write    ─ seal ─▶ changelog, RocksDB

The keys stand in a JSON file (`SEGUE_ENCRYPTION_KEYS`), by their ids; the last is the newest and seals, all
of them open. A tenant may have keys of its own: without them nobody can read that tenant's records again.

    {"keys": {"2026-10": "base64…", "2026-11": "base64…"}, "tenants": {"acme": {"acme-1": "base64…"}}}

AES-GCM must never see a nonce twice under one key, and 2^32 random ones are spent in days here. So each
process derives a key of its own from a random salt (HKDF, RFC 5869) and counts: no nonce comes twice.
"""

import itertools
import secrets
from collections.abc import Collection, Iterator
from functools import cache, lru_cache
from pathlib import Path
from typing import Annotated

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from pydantic import Base64Bytes, BaseModel, ConfigDict, Field, ValidationError, model_validator

from segue.streams.settings import Settings
from segue.topics import codec, contracts
from segue.topics.envelope import (
    CONTENT_TYPE,
    NONCE_BYTES,
    SALT_BYTES,
    Clear,
    Envelope,
    Unreadable,
    is_sealed,
    unpack,
)
from segue.topics.errors import BadInput
from segue.topics.flow import TENANT, Headers, Received, State, tenant_in
from segue.topics.records import Record, Tenant

KEY_BYTES = 32
DERIVED_MAX = 4_096
"""One for each process that wrote what is read, and each key."""

OF = b";of="
REASON = "segue-reason"

MAY_BE_CLEAR = {topic.name for topic in contracts.ALL if "outside" in topic.written_by} | {
    "outcomes",
    "health",
}
"""Topics that others write to, and those that say nothing of any task."""

CLEAR = (
    "it is not encrypted, though those who write this topic have keys: if it was written before they had, "
    "set SEGUE_CLEAR_UNTIL of all workers to a time that is a little ahead, and replay it before that"
)

CLEAR_ENTRY = (
    "it is not encrypted, though those who write this topic have keys: if it was written before they had, "
    "set SEGUE_CLEAR_UNTIL of all workers to the time at which the last of them had got its keys, and delete "
    "the stage's folder of state, so that it is restored anew"
)


KeyId = Annotated[str, Field(min_length=1, max_length=100, pattern=r"^[A-Za-z0-9._-]+$")]
Key = Annotated[Base64Bytes, Field(min_length=KEY_BYTES, max_length=KEY_BYTES)]


class KeyFile(BaseModel):
    """The file's content. `keys` are for tasks without a tenant, and for tenants that have none."""

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)

    keys: dict[KeyId, Key] = Field(min_length=1)
    tenants: dict[Tenant, dict[KeyId, Key]] = {}

    @model_validator(mode="after")
    def _unique(self) -> "KeyFile":
        names = [name for keys in (self.keys, *self.tenants.values()) for name in keys]
        if twice := {name for name in names if names.count(name) > 1}:
            raise ValueError(
                f"each key needs a different id; these are used twice: {', '.join(sorted(twice))}"
            )
        return self

    @classmethod
    def read(cls, path: Path) -> "KeyFile":
        """Raises `BadInput`, which never shows what stands in the file."""
        try:
            return cls.model_validate_json(path.read_bytes())
        except OSError as error:
            raise BadInput(f"SEGUE_ENCRYPTION_KEYS: can't read {path}: {error.strerror}") from None
        except ValidationError as error:
            raise BadInput(f"SEGUE_ENCRYPTION_KEYS: {path}: {codec.describe(error)}") from None


class Keys:
    """Seals and opens. A worker that meets a key that it does not know reads the file again."""

    def __init__(self, path: Path, clear_until_ms: int = 0) -> None:
        self._path = path
        self._clear_until_ms = clear_until_ms
        self._salt = secrets.token_bytes(SALT_BYTES)
        self._count = itertools.count()
        self._load()

    def _load(self) -> None:
        self._read_as = self._version()
        found = KeyFile.read(self._path)
        every = (found.keys, *found.tenants.values())
        self._keys = {name: key for keys in every for name, key in keys.items()}
        self._newest: dict[str | None, str] = {
            tenant: list(keys)[-1] for tenant, keys in found.tenants.items() if keys
        }
        self._default = list(found.keys)[-1]

    def _version(self) -> tuple[int, int]:
        stat = self._path.stat()
        return stat.st_mtime_ns, stat.st_size

    @property
    def tenants(self) -> Collection[str | None]:
        """Those that have keys of their own."""
        return self._newest.keys()

    def newest(self, tenant: str | None) -> str:
        """The id of the key that seals for a tenant, or for nobody in particular."""
        return self._newest.get(tenant, self._default)

    def cipher(self, key_id: str, salt: bytes) -> AESGCM:
        """Raises `LookupError` for a key that is not here."""
        key = self._keys.get(key_id)
        if key is None and self._path.exists() and self._version() != self._read_as:
            self._load()
            key = self._keys.get(key_id)
        if key is None:
            raise LookupError(
                f"encrypted with key {key_id!r}, which is not in SEGUE_ENCRYPTION_KEYS: add it and redrive"
            )
        return derived(key, salt)

    def naming(self, key_id: str) -> bytes:
        """The key that makes names of objects."""
        return HKDF(SHA256(), KEY_BYTES, None, b"segue object names").derive(self._keys[key_id])

    def seal(self, topic: str, key: bytes | None, value: bytes, tenant: str | None) -> bytes:
        """`value` in an envelope. What stands in one already stays as it is."""
        if not value or is_sealed(value):
            return value
        key_id, nonce = self.newest(tenant), next(self._count).to_bytes(NONCE_BYTES)
        text = self.cipher(key_id, self._salt).encrypt(nonce, value, _bound(topic, key))
        return Envelope(key_id, self._salt, nonce, text).pack()

    def open(self, topic: str, key: bytes | None, value: bytes) -> bytes:
        """What is in the envelope, or an `Unreadable` with the reason."""
        if not is_sealed(value):
            return value
        envelope = unpack(value)
        if envelope is None:
            return value
        try:
            cipher = self.cipher(envelope.key_id, envelope.salt)
            return cipher.decrypt(envelope.nonce, envelope.text, _bound(topic, key))
        except LookupError as unknown:
            return Unreadable.because(str(unknown.args[0]), value)
        except InvalidTag:
            why = "which does not open it: it was changed, or moved from another topic or task"
            return Unreadable.because(f"encrypted with key {envelope.key_id!r}, {why}", value)

    # ------------------------------------------------------------ records

    def sealed(
        self, topic: str, key: bytes | None, value: bytes | None, headers: list[tuple[str, bytes]]
    ) -> tuple[bytes | None, list[tuple[str, bytes]]]:
        """Value and headers of a record that leaves. The reason of a dead letter may quote what it held.

        What was refused because it is clear stays so: sealed, it would be believed when it is replayed.
        """
        if not value or is_sealed(value) or isinstance(value, Clear):
            return value, headers
        tenant, kind = tenant_in(headers), b""
        rest: list[tuple[str, bytes]] = []
        for name, text in headers:
            if name == "content-type":
                kind = text
            else:
                rest.append((name, self.seal(REASON, key, text, tenant) if name == REASON else text))
        return self.seal(topic, key, value, tenant), [("content-type", CONTENT_TYPE + OF + kind), *rest]

    def opened(self, record: Received) -> Received:
        """A record that came, in clear; as it is if it can't be opened, with the reason in its value.

        What workers write is sealed: in clear it is believed up to the time until which some had no keys, as
        the broker stamped it.
        """
        if not record.value:
            return record
        if not is_sealed(record.value):
            if record.topic in MAY_BE_CLEAR or record.timestamp_ms < self._clear_until_ms:
                return record
            return record._replace(value=Clear.because(CLEAR, record.value))
        value = self.open(record.topic, record.key, record.value)
        if isinstance(value, Unreadable) and record.topic == "dead-letters":
            value = self.open(_first_topic(record) or record.topic, record.key, record.value)
        if isinstance(value, Unreadable):
            headers = tuple((n, value.why.encode() if is_sealed(h) else h) for n, h in record.headers)
            return record._replace(value=value, headers=headers)
        return record._replace(value=value, headers=self._clear(record))

    def believes(self, changelog: str, key: bytes, value: bytes | None, timestamp_ms: int) -> bool:
        """Whether an entry of a changelog counts: it is sealed, or need not be, or is from before the keys.

        What was deleted bears no seal: that is believed.
        """
        if value is None or is_sealed(value) or timestamp_ms < self._clear_until_ms:
            return True
        return key.startswith(contracts.BY_NAME[changelog].plain)

    def _clear(self, record: Received) -> Headers:
        """With the content type of what was inside; none if it had none."""
        clear: list[tuple[str, bytes]] = []
        for name, text in record.headers:
            if name != "content-type":
                clear.append((name, self.open(REASON, record.key, text) if name == REASON else text))
            elif kind := text.partition(OF)[2]:
                clear.append((name, kind))
        return tuple(clear)


class OpenedState:
    """A stage's state in clear, over the sealed one (`segue.topics.flow.State`)."""

    def __init__(self, keys: Keys, topic: str, sealed: State) -> None:
        self._keys = keys
        self._topic = topic
        self._sealed = sealed

    def get(self, key: bytes) -> bytes | None:
        value = self._sealed.get(key)
        return None if value is None else self._keys.open(self._topic, key, value)

    def scan(self, prefix: bytes, start: bytes = b"") -> Iterator[tuple[bytes, bytes]]:
        for key, value in self._sealed.scan(prefix, start):
            yield key, self._keys.open(self._topic, key, value)


def enveloped(
    keys: Keys | None, topic: str, key: bytes, record: Record, tenant: str | None
) -> tuple[bytes | None, list[tuple[str, bytes]]]:
    """Value and headers of a record that no stage decided; clear without `keys`."""
    value = codec.encode(record)
    headers: list[tuple[str, bytes]] = [codec.CONTENT_TYPE]
    if tenant is not None:
        headers.append((TENANT, tenant.encode()))
    return (value, headers) if keys is None else keys.sealed(topic, key, value, headers)


def keys_of(settings: Settings) -> Keys | None:
    """The keys of these settings, the same object each time; None where nothing is encrypted."""
    if settings.encryption_keys is None:
        return None
    until = settings.clear_until
    return _keys_in(settings.encryption_keys, round(until.timestamp() * 1000) if until is not None else 0)


@cache
def _keys_in(path: Path, clear_until_ms: int) -> Keys:
    return Keys(path, clear_until_ms)


@lru_cache(maxsize=DERIVED_MAX)
def derived(key: bytes, salt: bytes) -> AESGCM:
    return AESGCM(HKDF(SHA256(), KEY_BYTES, salt, b"segue").derive(key))


def _bound(topic: str, key: bytes | None) -> bytes:
    return topic.encode() + b"\0" + (key or b"")


def _first_topic(letter: Received) -> str | None:
    return next((value.decode() for name, value in letter.headers if name == "segue-topic"), None)
