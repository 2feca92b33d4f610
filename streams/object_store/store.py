"""The object store: what is too large for a record, in a folder or whatever else fsspec reaches by URL.

    ROOT / PREFIXobjects / partition / @task / hash[.tenant]

Bytes are spooled to a file while they are hashed, then kept under their hash: written twice they are the same
object, and whoever writes other bytes, a zombie say, writes another. A crash before the record that refers to
an object leaves an orphan, which expires with its task (`sweep`).

With encryption on, an object is sealed piece by piece, and its name is a keyed hash: who only sees names
can't tell whether something known is among them. fsspec blocks, so all of it happens in threads; at any time
a write or a read holds a few pieces of `CHUNK_BYTES` in memory.
"""

import asyncio
import hashlib
import hmac
import itertools
import os
import secrets
import shutil
import tempfile
from collections.abc import AsyncIterator, Callable, Generator, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any, ParamSpec, TypeVar, cast
from urllib.parse import quote, unquote

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from pydantic_core import from_json

from segue.processors.payloads.blob import Blob, Kind, Source
from segue.processors.payloads.values import adapter_for, jsonable, values_of
from segue.streams.kafka.partitioner import partition_of
from segue.streams.object_store.pieces import CHUNK_BYTES, pieces_of
from segue.streams.security.encryption import Keys, keys_of
from segue.streams.settings import Settings
from segue.topics.codec import json_of
from segue.topics.envelope import NONCE_BYTES, SALT_BYTES
from segue.topics.errors import BadInput, MissingExtra, Permanent, Retryable
from segue.topics.extras import require
from segue.topics.flow import StoredObject

P = ParamSpec("P")
T = TypeVar("T")

TAG_BYTES = 16
NAME_CHARS_MAX = 200
"""Of one folder: file systems take 255 bytes."""

SPOOL = "spool"

HASH_CHARS = 64


class Objects:
    """The store of these settings. Opened when it is first used: until then it costs nothing."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self.payload_bytes_max = settings.payload_bytes_max
        self.kept_s = settings.object_retention_s
        self._keys = keys_of(settings)
        self._opened: tuple[Any, str] | None = None

    def of_task(self, task: str, tenant: str | None = None) -> "TaskObjectStore":
        return TaskObjectStore(self, task, tenant)

    # ------------------------------------------------------------ bytes in

    async def put(
        self, task: str, tenant: str | None, source: Source, media_type: str, kind: Kind = "blob"
    ) -> Blob:
        """Raises `Retryable`, `BadInput` for what can't be kept."""
        folder = folder_of(task, self._settings.partitions)
        seal = Seal(self._keys, self._keys.newest(tenant), folder) if self._keys is not None else None
        spool = await self._in_thread(self._spool, seal, tenant)
        try:
            async for piece in pieces_of(source):
                await self._in_thread(spool.write, piece)
            name = await self._in_thread(self._keep, spool, folder)
        finally:
            await asyncio.to_thread(spool.close)
        return Blob(
            object=f"{folder}/{name}",
            size_bytes=spool.size_bytes,
            sha256=spool.sha256.hexdigest(),
            media_type=media_type,
            key=seal.key_id if seal else None,
            kind=kind,
        )

    def reference(self, task: str, tenant: str | None, body: bytes, media_type: str) -> Blob:
        """The reference that these bytes have as a value, once they are kept. Touches no store."""
        digest = hashlib.sha256(body)
        key = self._keys.newest(tenant) if self._keys is not None else None
        content = _keyed(self._keys, key, digest.digest()) if self._keys and key else digest.hexdigest()
        return Blob(
            object=f"{folder_of(task, self._settings.partitions)}/{content}{_owner(tenant)}",
            size_bytes=len(body),
            sha256=digest.hexdigest(),
            media_type=media_type,
            key=key,
            kind="value",
        )

    def keep(self, stored: StoredObject) -> None:
        """Write an object by the name that `reference` gave it. Blocks. Raises `Retryable`, `Permanent`."""
        folder = stored.object.rpartition("/")[0]
        with self._errors():
            seal = Seal(self._keys, stored.key, folder) if self._keys and stored.key else None
            spool = self._spool(seal, stored.tenant)
            try:
                spool.write(stored.body)
                self._keep(spool, folder)
            finally:
                spool.close()

    def _spool(self, seal: "Seal | None", tenant: str | None) -> "Spool":
        """Where the store is a folder the spool is in it, and is moved to its place, never copied."""
        fs, base = self._store()
        if not _is_folder(fs):
            return Spool(tempfile.TemporaryFile(), None, seal, tenant)
        (Path(base) / SPOOL).mkdir(parents=True, exist_ok=True)
        file = tempfile.NamedTemporaryFile(dir=Path(base) / SPOOL, delete=False)  # noqa: SIM115
        return Spool(file, Path(file.name), seal, tenant)

    def _keep(self, spool: "Spool", folder: str) -> str:
        spool.finish()
        (fs, base), name = self._store(), spool.name()
        to = f"{base}/{folder}/{name}"
        if spool.path is not None:
            os.fsync(spool.file.fileno())
            Path(to).parent.mkdir(parents=True, exist_ok=True)
            spool.path.replace(to)
            return name
        spool.file.seek(0)
        try:
            with fs.open(to, "wb") as out:
                shutil.copyfileobj(spool.file, out, CHUNK_BYTES)
        except FileNotFoundError as error:  # a bucket that nobody made, say
            raise self._not_there(f": {error}") from None
        return name

    # ------------------------------------------------------------ bytes out

    async def chunks(self, blob: Blob) -> AsyncIterator[bytes]:
        """Raises `Permanent`, `Retryable`."""
        hashed, size = hashlib.sha256(), 0
        file = await self._in_thread(self._open, blob)
        try:
            pieces = self._clear(blob, file)
            while chunk := await self._in_thread(next, pieces, b""):
                hashed.update(chunk)
                size += len(chunk)
                yield chunk
        finally:
            await asyncio.to_thread(file.close)
        if (size, hashed.hexdigest()) != (blob.size_bytes, blob.sha256):
            raise Permanent(
                f"object {blob.object} has changed since it was written: its size or sha256 differs"
            )

    def _open(self, blob: Blob) -> IO[bytes]:
        fs, base = self._store()
        try:
            file: IO[bytes] = fs.open(f"{base}/{blob.object}", "rb")
        except FileNotFoundError:
            if _is_folder(fs) and not Path(base).exists():  # a disk that is not mounted, say
                raise self._not_there() from None
            raise
        return file

    def _clear(self, blob: Blob, file: IO[bytes]) -> Iterator[bytes]:
        if blob.key is None:
            while chunk := file.read(CHUNK_BYTES):
                yield chunk
            return
        cipher = self._cipher(blob, blob.key, file.read(SALT_BYTES))
        bound = _bound(blob.object.rpartition("/")[0])
        for number in itertools.count():
            if not (text := file.read(CHUNK_BYTES + TAG_BYTES)):
                return
            yield cipher.decrypt(number.to_bytes(NONCE_BYTES), text, bound)

    def _cipher(self, blob: Blob, key_id: str, salt: bytes) -> AESGCM:
        if self._keys is None:
            raise Permanent(
                f"object {blob.object} is encrypted with key {key_id!r}: set SEGUE_ENCRYPTION_KEYS"
            )
        try:
            return self._keys.cipher(key_id, salt)
        except LookupError as unknown:
            raise Permanent(f"object {blob.object} is {unknown.args[0]}") from None

    # ------------------------------------------------------------ what there is

    def tasks(self, partition: int) -> Iterator[tuple[str, float]]:
        """Each task with objects there, and when the newest was written, in Unix time. Blocks."""
        fs, base = self._store()
        fs.invalidate_cache()
        newest: dict[str, float] = {}
        with suppress(FileNotFoundError):
            for path in fs.find(f"{base}/{partition}"):
                folder = str(path).removeprefix(f"{base}/").rpartition("/")[0]
                with suppress(FileNotFoundError):
                    at_s = fs.modified(path).timestamp()
                    newest[folder] = max(at_s, newest.get(folder, 0.0))
        for folder, at_s in newest.items():
            yield task_of(folder), at_s

    def remove(self, task: str) -> None:
        """Blocks."""
        fs, base = self._store()
        with suppress(FileNotFoundError):
            fs.rm(f"{base}/{folder_of(task, self._settings.partitions)}", recursive=True)

    def remove_spools(self, before_s: float) -> None:
        """What writers that died have left. Blocks."""
        fs, base = self._store()
        if _is_folder(fs) and (spools := Path(base) / SPOOL).exists():
            for spool in spools.iterdir():
                with suppress(FileNotFoundError):
                    if spool.stat().st_mtime < before_s:
                        spool.unlink()

    # ------------------------------------------------------------ the store itself

    def _store(self) -> tuple[Any, str]:
        if self._opened is None:
            ensure_library(self._settings)
            from fsspec import core

            url = f"{self._settings.objects_root.rstrip('/')}/{self._settings.topic_prefix}objects"
            try:
                opened: tuple[Any, str] = cast("Any", core).url_to_fs(url)
            except (ImportError, ValueError) as error:
                raise BadInput(f"SEGUE_OBJECT_STORE_URL={self._settings.objects_root}: {error}") from None
            self._opened = opened
        return self._opened

    def _not_there(self, why: str = "") -> Retryable:
        return Retryable(f"the object store {self._settings.objects_root} is not there{why}")

    async def _in_thread(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        with self._errors():
            return await asyncio.to_thread(function, *args, **kwargs)

    @contextmanager
    def _errors(self) -> Generator[None]:
        """What a store raises, in words; each has errors of its own."""
        root = self._settings.objects_root
        try:
            yield
        except (BadInput, MissingExtra, Permanent, Retryable):
            raise
        except FileNotFoundError as error:
            why = "it has expired, or was written under another SEGUE_OBJECT_STORE_URL than this worker's"
            raise Permanent(f"an object is not in {root}: {why} ({error})") from None
        except InvalidTag:
            raise Permanent("an object can't be decrypted with its key: it was changed or moved") from None
        except Exception as error:
            raise Retryable(f"the object store {root}: {type(error).__name__}: {error}") from error


class TaskObjectStore:
    """Implements `payloads.blob.TaskObjects`: writes below the task, reads what belongs to the task's tenant.

    A reference is data that anybody may have seen, or made up: it opens nothing of another tenant.
    """

    def __init__(self, objects: Objects, task: str, tenant: str | None) -> None:
        self._objects = objects
        self._task = task
        self._tenant = tenant

    @property
    def payload_bytes_max(self) -> int:
        return self._objects.payload_bytes_max

    async def put(self, source: Source, media_type: str, kind: Kind = "blob") -> Blob:
        return await self._objects.put(self._task, self._tenant, source, media_type, kind)

    def chunks(self, blob: Blob) -> AsyncIterator[bytes]:
        if blob.object.rpartition("/")[2][HASH_CHARS:] != _owner(self._tenant):
            whose = f"of tenant {self._tenant!r}" if self._tenant else "without a tenant"
            raise Permanent(
                f"object {blob.object} belongs to another tenant than task {self._task!r}, {whose}: "
                "a task reads objects of its own tenant only; upload it for that tenant"
            )
        return self._objects.chunks(blob)

    def encode(self, value: Any) -> bytes:
        return json_of(jsonable(value))

    def decode(self, body: bytes, kind: type[T]) -> T:
        value: T = values_of(adapter_for(kind)).read(from_json(body))
        return value


# ---------------------------------------------------------------- on their way


class Seal:
    """Encrypts the pieces of one object: a key derived for it alone, whose nonces count the pieces."""

    def __init__(self, keys: Keys, key_id: str, folder: str) -> None:
        self.key_id = key_id
        self.salt = secrets.token_bytes(SALT_BYTES)
        self._keys = keys
        self._cipher = keys.cipher(key_id, self.salt)
        self._folder = folder
        self._count = 0

    def __call__(self, piece: bytes) -> bytes:
        nonce, self._count = self._count.to_bytes(NONCE_BYTES), self._count + 1
        return self._cipher.encrypt(nonce, piece, _bound(self._folder))

    def name(self, digest: bytes) -> str:
        return _keyed(self._keys, self.key_id, digest)


class Spool:
    """The file that an object is collected in, sealed if it is to be, while it is hashed and measured."""

    def __init__(
        self, file: IO[bytes], path: Path | None, seal: Seal | None, tenant: str | None = None
    ) -> None:
        self.file = file
        self._tenant = tenant
        self.path = path
        self.sha256 = hashlib.sha256()
        self.size_bytes = 0
        self._seal = seal
        self._rest = bytearray()
        if seal is not None:
            file.write(seal.salt)

    def write(self, piece: bytes) -> None:
        self.sha256.update(piece)
        self.size_bytes += len(piece)
        if self._seal is None:
            self.file.write(piece)
            return
        self._rest += piece
        while len(self._rest) >= CHUNK_BYTES:
            self.file.write(self._seal(bytes(self._rest[:CHUNK_BYTES])))
            del self._rest[:CHUNK_BYTES]

    def finish(self) -> None:
        if self._seal is not None and self._rest:
            self.file.write(self._seal(bytes(self._rest)))
        self.file.flush()

    def name(self) -> str:
        """A hash of the content; with it one of the tenant, which says whose the object is."""
        content = self._seal.name(self.sha256.digest()) if self._seal else self.sha256.hexdigest()
        return content + _owner(self._tenant)

    def close(self) -> None:
        self.file.close()
        if self.path is not None:
            self.path.unlink(missing_ok=True)


# ---------------------------------------------------------------- names


def folder_of(task: str, partitions: int) -> str:
    """Where a task's objects stand. Any id makes a name of its own, and none leads elsewhere."""
    name = quote(task, safe="")
    *first, last = (name[at : at + NAME_CHARS_MAX] for at in range(0, len(name), NAME_CHARS_MAX))
    return "/".join(
        (str(partition_of(task.encode(), partitions)), *(f"+{part}" for part in first), f"@{last}")
    )


def _keyed(keys: Keys, key_id: str, digest: bytes) -> str:
    return hmac.digest(keys.naming(key_id), digest, "sha256").hex()


def _owner(tenant: str | None) -> str:
    """What an object's name ends with: of a hash, since a tenant's name may be longer than a file's."""
    return f".{hashlib.sha256(tenant.encode()).hexdigest()[:32]}" if tenant else ""


def task_of(folder: str) -> str:
    _, *parts = folder.split("/")
    return unquote("".join(part[1:] for part in parts))


def _is_folder(fs: Any) -> bool:
    from fsspec.implementations.local import LocalFileSystem

    return isinstance(fs, LocalFileSystem)


def ensure_library(settings: Settings) -> None:
    """Raise `MissingExtra` if objects are kept in S3 and its library is not installed."""
    if settings.objects_root.startswith(("s3://", "s3a://")):
        require("s3")


def _bound(folder: str) -> bytes:
    return b"object\0" + folder.encode()
