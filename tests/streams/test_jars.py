"""What is not the released jar does not run."""

import gc
from pathlib import Path

import pytest

from segue.streams.local import jars
from segue.topics.errors import Unavailable

JSPECIFY = "org.jspecify:jspecify:1.0.0"  # the smallest of all: 4 kB


def lock(folder: Path, *lines: str) -> Path:
    path = folder / "jars.lock"
    path.write_text("".join(f"{line}\n" for line in lines))
    return path


def released() -> str:
    return next(line for line in jars.LOCK.read_text().splitlines() if line.endswith(JSPECIFY))


def test_every_kafka_jar_is_of_the_version_that_we_name() -> None:
    coordinates = [line.split()[1] for line in jars.LOCK.read_text().splitlines()]
    kafka = {one.rpartition(":")[2] for one in coordinates if one.startswith("org.apache.kafka:")}
    assert kafka == {jars.KAFKA_VERSION}


def test_a_jar_is_downloaded_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jars, "LOCK", lock(tmp_path, released()))
    said: list[str] = []
    (path,) = jars.classpath(tmp_path / "cache", said.append)
    assert jars.classpath(tmp_path / "cache", said.append) == [path]
    assert (path.name, len(said)) == ("jspecify-1.0.0.jar", 1)


def test_a_jar_that_was_changed_on_its_way_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(jars, "LOCK", lock(tmp_path, f"{'0' * 64}  {JSPECIFY}"))
    with pytest.raises(Unavailable, match=f"{JSPECIFY} was refused: its SHA-256 is"):
        jars.classpath(tmp_path / "cache", print)
    assert list(tmp_path.rglob("*.jar")) == []


def test_a_half_written_jar_is_downloaded_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jars, "LOCK", lock(tmp_path, released()))
    half = tmp_path / "cache/jars/org/jspecify/jspecify/1.0.0/jspecify-1.0.0.jar"
    half.parent.mkdir(parents=True)
    half.write_bytes(b"half")
    assert jars.classpath(tmp_path / "cache", print) == [half]
    assert half.stat().st_size > 3_000


@pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning")  # jgo leaves a refused response open
def test_a_jar_that_does_not_exist_is_an_error_for_people(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(jars, "LOCK", lock(tmp_path, f"{'0' * 64}  org.jspecify:jspecify:0.0.0-none"))
    with pytest.raises(Unavailable, match=r"can't download org\.jspecify:jspecify:0\.0\.0-none.*SEGUE_KAFKA"):
        jars.classpath(tmp_path / "cache", print)
    gc.collect()
