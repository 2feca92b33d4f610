"""The object store, in a folder and in fsspec's memory: what is written comes back, or a clear error does."""

import asyncio
import hashlib
import os
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from fsspec.implementations.memory import MemoryFileSystem
from pydantic import BaseModel, ValidationError

from segue.processors.payloads.blob import TASK_OBJECTS, Blob
from segue.streams.object_store.pieces import CHUNK_BYTES
from segue.streams.object_store.store import Objects, folder_of, task_of
from segue.streams.settings import Settings
from segue.topics.errors import BadInput, MissingExtra, Permanent, Retryable
from tests.streams.keyfiles import key_file

WORDS = b"a secret that is nowhere in clear " * 100_000  # three pieces and a rest


def settings_for(store: str, folder: Path) -> Settings:
    return Settings(
        object_store_url=f"memory://{folder.name}" if "memory" in store else str(folder / "objects"),
        state_dir=folder / "state",
        encryption_keys=key_file(folder / "keys", "one") if "encrypted" in store else None,
    )


@pytest.fixture(params=["folder", "memory", "encrypted folder", "encrypted memory"])
def settings(request: pytest.FixtureRequest, tmp_path: Path) -> Settings:
    return settings_for(str(request.param), tmp_path)


@pytest.fixture(params=["folder", "encrypted folder"])
def in_folder(request: pytest.FixtureRequest, tmp_path: Path) -> Settings:
    """Where a test can change files by hand."""
    return settings_for(str(request.param), tmp_path)


async def kept(settings: Settings, source: Any = WORDS, task: str = "t") -> Blob:
    return await Objects(settings).put(task, None, source, "text/plain")


async def read(settings: Settings, blob: Blob) -> bytes:
    return b"".join([chunk async for chunk in Objects(settings).chunks(blob)])


async def in_pieces() -> AsyncIterator[bytes]:
    for at in range(0, len(WORDS), 700_000):
        yield WORDS[at : at + 700_000]


@pytest.mark.parametrize("made", ["bytes", "pieces", "async pieces", "file"])
async def test_what_is_written_comes_back_in_small_pieces(
    settings: Settings, tmp_path: Path, made: str
) -> None:
    (tmp_path / "file").write_bytes(WORDS)
    with (tmp_path / "file").open("rb") as file:
        source = {
            "bytes": WORDS,
            "pieces": [WORDS[:5], b"", WORDS[5:]],
            "async pieces": in_pieces(),
            "file": file,
        }
        blob = await kept(settings, source[made])
    chunks = [chunk async for chunk in Objects(settings).chunks(blob)]
    assert b"".join(chunks) == WORDS
    assert max(map(len, chunks)) <= CHUNK_BYTES


@pytest.mark.parametrize("size", [0, 1, CHUNK_BYTES - 1, CHUNK_BYTES, CHUNK_BYTES + 1, 2 * CHUNK_BYTES])
async def test_any_size_comes_back(settings: Settings, size: int) -> None:
    content = os.urandom(size)
    blob = await kept(settings, content)
    assert (blob.size_bytes, blob.sha256) == (size, hashlib.sha256(content).hexdigest())
    assert await read(settings, blob) == content


async def test_the_same_bytes_of_a_task_are_one_object_and_others_another(settings: Settings) -> None:
    first, again, other = await kept(settings), await kept(settings), await kept(settings, WORDS + b"!")
    assert first == again
    assert other.object != first.object
    assert await read(settings, first) == WORDS


@pytest.mark.parametrize("task", ["..", "a/b", "/", "x" * 200, "é" * 100, "\\..", "@", "a b?#%2F"])
async def test_any_id_of_a_task_is_a_folder_of_its_own(settings: Settings, task: str) -> None:
    blob = await kept(settings, b"mine", task)
    assert await read(settings, blob) == b"mine"
    assert task_of(blob.object.rpartition("/")[0]) == task


async def test_an_id_that_begins_another_keeps_its_objects_apart(settings: Settings) -> None:
    short, long = "x" * 200, "x" * 200 + "y"
    blob = await kept(settings, b"long", long)
    await kept(settings, b"short", short)
    Objects(settings).remove(short)
    assert await read(settings, blob) == b"long"
    assert folder_of(short, 4).split("/")[1][0] == "@"


def file_of(settings: Settings, blob: Blob) -> Path:
    return Path(settings.objects_root) / "objects" / blob.object


def files_below(root: Path) -> list[Path]:
    return [path for path in root.rglob("*") if path.is_file()]


async def test_a_changed_byte_is_found(in_folder: Settings) -> None:
    blob = await kept(in_folder)
    file = file_of(in_folder, blob)
    changed = bytearray(file.read_bytes())
    changed[-20] ^= 1
    file.write_bytes(changed)
    with pytest.raises(Permanent, match=r"has changed since it was written|can't be decrypted"):
        await read(in_folder, blob)


async def test_a_missing_end_is_found(in_folder: Settings) -> None:
    blob = await kept(in_folder, b"x" * (2 * CHUNK_BYTES))
    file = file_of(in_folder, blob)
    file.write_bytes(file.read_bytes()[: CHUNK_BYTES + (32 if blob.key else 0)])
    with pytest.raises(Permanent, match="has changed since it was written"):
        await read(in_folder, blob)


async def test_an_object_of_another_task_does_not_open(tmp_path: Path) -> None:
    settings = settings_for("encrypted folder", tmp_path)
    blob = await kept(settings, b"theirs", "theirs")
    moved = file_of(settings, replace(blob, object=blob.object.replace("@theirs", "@mine")))
    moved.parent.mkdir(parents=True)
    file_of(settings, blob).rename(moved)
    with pytest.raises(Permanent, match="be decrypted"):
        await read(settings, replace(blob, object=blob.object.replace("@theirs", "@mine")))


async def test_an_object_that_is_gone_says_so(settings: Settings) -> None:
    blob = await kept(settings)
    Objects(settings).remove("t")
    with pytest.raises(Permanent, match=r"has expired, or was written under another SEGUE_OBJECT_STORE_URL"):
        await read(settings, blob)


async def test_a_store_that_does_not_answer_is_tried_again(tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("a file, where the folder should be")
    blob = await kept(settings_for("folder", tmp_path))
    (tmp_path / "objects").rename(tmp_path / "unmounted")
    with pytest.raises(Retryable, match="is not there"):
        await read(settings_for("folder", tmp_path), blob)
    with pytest.raises(Retryable, match="the object store"):
        await kept(Settings(object_store_url=str(tmp_path / "taken"), state_dir=tmp_path))


async def test_a_bucket_that_nobody_made_is_told_from_an_object_that_is_gone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise FileNotFoundError("The specified bucket does not exist")

    monkeypatch.setattr(MemoryFileSystem, "open", refuse)
    with pytest.raises(Retryable, match="memory://b is not there: The specified bucket does not exist"):
        await kept(Settings(object_store_url="memory://b"))


async def test_a_store_without_its_library_says_what_to_install(tmp_path: Path) -> None:
    with pytest.raises(MissingExtra, match=r'pip install "segue\[s3\]"'):
        await kept(Settings(object_store_url="s3://nowhere", state_dir=tmp_path))


@pytest.mark.parametrize("made", [["text"], "text"])
async def test_what_is_no_bytes_is_refused(settings: Settings, made: Any) -> None:
    with pytest.raises(BadInput, match="made of bytes"):
        await kept(settings, made)


def test_a_reference_never_leads_out_of_the_store() -> None:
    for name in ("../x", "/etc/passwd", "0/../../etc/passwd", "0/@t/../../x", "0/@t/" + "0" * 63):
        with pytest.raises(ValidationError):
            Blob(object=name, size_bytes=1, sha256="0" * 64)


async def test_nothing_of_an_encrypted_object_is_clear(in_folder: Settings, tmp_path: Path) -> None:
    blob = await kept(in_folder)
    on_disk = file_of(in_folder, blob).read_bytes()
    assert (b"secret" in on_disk) == (blob.key is None)
    assert (blob.object.endswith(blob.sha256)) == (blob.key is None)


async def test_a_write_leaves_nothing_behind_but_the_object(in_folder: Settings) -> None:
    blob = await kept(in_folder)
    root = file_of(in_folder, blob).parents[2]
    assert files_below(root) == [file_of(in_folder, blob)]


async def failing() -> AsyncIterator[bytes]:
    yield b"begun"
    raise OSError("the camera is off")


async def test_a_source_that_fails_keeps_nothing(in_folder: Settings) -> None:
    with pytest.raises(OSError, match="the camera is off"):
        await kept(in_folder, failing())
    assert list(Objects(in_folder).tasks(int(folder_of("t", 4)[0]))) == []
    assert files_below(Path(in_folder.objects_root)) == []


class Page(BaseModel):
    title: str


async def test_values_are_kept_as_json(settings: Settings) -> None:
    async def work() -> list[Page]:
        TASK_OBJECTS.set(Objects(settings).of_task("t"))
        blob = await Blob.dump([Page(title="one")])
        assert (blob.media_type, await blob.read()) == ("application/json", b'[{"title":"one"}]')
        return await blob.load(list[Page])

    assert await asyncio.create_task(work()) == [Page(title="one")]


async def test_outside_of_tools_a_blob_is_only_passed_on() -> None:
    with pytest.raises(BadInput, match="only in a tool or a check"):
        await Blob.write(b"bytes")
