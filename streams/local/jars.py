"""Apache Kafka as a program: the jars that `jars.lock` names, downloaded once for each user and checked.

`jars.lock` holds a line `sha256  group:artifact:version` for every jar: what runs is what was released, byte
for byte, from whatever mirror it came. The jars lie in the cache folder as in any Maven repository. A stamp
named after the lock's own hash says that all were checked, so that a warm start reads none of them.

`python -m segue.streams.local.jars` resolves the versions below anew and prints the lock (`make lock`).
"""

import hashlib
import sys
import tempfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

from segue.topics.errors import Unavailable

KAFKA_VERSION = "4.3.1"

# Every Kafka artifact is named, for jgo's mediation prefers an older kafka-clients that a transitive
# dependency asks for. The binding of log4j is what Kafka's own release ships with.
KAFKA_ARTIFACTS = (
    "kafka_2.13",
    "kafka-clients",
    "kafka-server",
    "kafka-storage",
    "kafka-raft",
    "kafka-metadata",
    "kafka-server-common",
    "kafka-group-coordinator",
    "kafka-transaction-coordinator",
    "kafka-share-coordinator",
    "kafka-coordinator-common",
)
LOGGING = "org.apache.logging.log4j:log4j-slf4j-impl:2.25.3"

LOCK = Path(__file__).with_name("jars.lock")
DOWNLOADS_AT_ONCE = 8


class Jar(NamedTuple):
    sha256: str
    coordinate: str

    @classmethod
    def parse(cls, line: str) -> "Jar":
        return cls(*line.split())

    def path(self, repository: Path) -> Path:
        """Where a Maven repository keeps it."""
        group, artifact, version = self.coordinate.split(":")
        return repository / group.replace(".", "/") / artifact / version / f"{artifact}-{version}.jar"


def classpath(cache_dir: Path, say: Callable[[str], None]) -> list[Path]:
    """All of Kafka's jars, in the lock's order; `say` is told when they must be downloaded first.

    Raises `Unavailable` when one can't be had, or is not what was released.
    """
    lock = LOCK.read_bytes()
    jars = [Jar.parse(line) for line in lock.decode().splitlines()]
    repository = cache_dir / "jars"
    paths = [jar.path(repository) for jar in jars]
    stamp = repository / f"{hashlib.sha256(lock).hexdigest()[:16]}.checked"
    if not (stamp.exists() and all(path.exists() for path in paths)):
        say(f"downloading Apache Kafka {KAFKA_VERSION} (45 MB, once) to {repository}")
        _install(jars, repository)
        stamp.touch()
    return paths


def _install(jars: list[Jar], repository: Path) -> None:
    """Jars are downloaded beside the repository and moved into it checked: it never holds half a jar."""
    repository.mkdir(parents=True, exist_ok=True)
    with (
        tempfile.TemporaryDirectory(dir=repository, prefix="download-") as fresh,
        ThreadPoolExecutor(DOWNLOADS_AT_ONCE) as pool,
    ):
        for done in [pool.submit(_fetch, jar, repository, Path(fresh)) for jar in jars]:
            done.result()


def _fetch(jar: Jar, repository: Path, fresh: Path) -> None:
    target = jar.path(repository)
    if target.exists() and _sha256(target) == jar.sha256:
        return
    found = _download(jar, fresh)
    if (actual := _sha256(found)) != jar.sha256:
        raise Unavailable(
            f"{jar.coordinate} was refused: its SHA-256 is {actual}, but the released file has {jar.sha256}. "
            "The network may change files that come from the Maven repository: try another network, "
            "or set SEGUE_KAFKA to a cluster of your own"
        )
    target.parent.mkdir(parents=True, exist_ok=True)
    found.replace(target)


def _download(jar: Jar, fresh: Path) -> Path:
    import requests  # slow to import, and needed once in a machine's life
    from jgo.maven import MavenContext

    group, artifact, version = jar.coordinate.split(":")
    try:
        return (
            MavenContext(repo_cache=fresh).project(group, artifact).at_version(version).artifact().resolve()
        )
    except (requests.RequestException, OSError, RuntimeError) as error:
        raise Unavailable(
            f"can't download {jar.coordinate}: {error}. Check the network and its proxy, "
            "or set SEGUE_KAFKA to a cluster of your own"
        ) from None


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _resolve() -> list[Jar]:
    """The jars of the versions named above and all that they need."""
    import jgo

    named = [f"org.apache.kafka:{artifact}:{KAFKA_VERSION}" for artifact in KAFKA_ARTIFACTS]
    found = jgo.resolve("+".join([*named, LOGGING]))
    return [Jar(_sha256(one.resolve()), f"{one.groupId}:{one.artifactId}:{one.version}") for one in found]


if __name__ == "__main__":
    for jar in sorted(_resolve(), key=lambda jar: jar.coordinate):
        sys.stdout.write(f"{jar.sha256}  {jar.coordinate}\n")
