"""Rights on a real broker that asks for them: with those that are printed all works, and no more than that.

The broker has a listener with passwords beside the one in plain text, whose users may do all.
"""

# aiokafka is annotated only in part.
# pyright: reportUnknownMemberType=false, reportPrivateUsage=false

import asyncio
import subprocess
import sys
from collections.abc import AsyncGenerator, Iterable
from contextlib import asynccontextmanager, suppress
from itertools import count
from pathlib import Path
from time import monotonic
from typing import Any

import pytest
import pytest_asyncio
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaError, TopicAuthorizationFailedError
from aiokafka.protocol.admin import CreateAclsRequest
from click.testing import CliRunner
from pydantic import SecretStr, TypeAdapter
from pydantic_ai.messages import ModelMessage, ModelResponse, TextPart
from pydantic_ai.models.function import AgentInfo, FunctionModel

from segue import (
    App,
    Budget,
    CircuitBreaker,
    ModelRoute,
    OutputRejected,
    Permanent,
    Retryable,
    Task,
    check,
    current_attempt,
    tool,
    workflow,
)
from segue.streams.calls.published_health import known
from segue.streams.cli import main
from segue.streams.client.client import Client
from segue.streams.client.topic_lag import survey
from segue.streams.engine.stages import ALL_STAGES
from segue.streams.engine.worker import Worker
from segue.streams.kafka.provisioning import provision
from segue.streams.kafka.reader import Reader
from segue.streams.local.broker import broker_status
from segue.streams.local.jars import classpath
from segue.streams.local.kraft import Node
from segue.streams.observability import watchdog
from segue.streams.security.acls import Right
from segue.streams.settings import Settings
from segue.topics.errors import BadInput, Unavailable, UnknownName
from tests.kafka.conftest import free_port, worker_environment
from tests.kafka.test_expired import expire

_numbers = count(1)

PASSWORD = "correct-horse-battery-staple"
USERS = ("worker", "tools", "shop", "reader", "operator")

SECURED = """
authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer
super.users=User:ANONYMOUS
sasl.enabled.mechanisms=PLAIN
listeners=PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller},SECURED://127.0.0.1:{secured}
advertised.listeners=PLAINTEXT://127.0.0.1:{port},SECURED://127.0.0.1:{secured}
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT,SECURED:SASL_PLAINTEXT
listener.name.secured.plain.sasl.jaas.config=org.apache.kafka.common.security.plain.PlainLoginModule \
required {users};
"""

CODES = {
    "topic": 2,
    "group": 3,
    "transactional-id": 5,
    "Read": 3,
    "Write": 4,
    "Create": 5,
    "Describe": 8,
    "DescribeConfigs": 10,
}
"""As the protocol numbers resources and operations."""

ALLOW, LITERAL, PREFIXED = 3, 3, 4
START_S_MAX = 60.0


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def cluster(tmp_path_factory: pytest.TempPathFactory) -> AsyncGenerator[tuple[int, int]]:
    """Ports of the listener in plain text and of the one with passwords."""
    port, secured, controller = free_port(), free_port(), free_port()
    node = Node(tmp_path_factory.mktemp("secured"))
    node.configure(port, controller)
    users = " ".join(f'user_{name}="{PASSWORD}"' for name in USERS)
    with node.properties.open("a") as properties:
        properties.write(SECURED.format(port=port, controller=controller, secured=secured, users=users))
    jars = classpath(Settings().cache_dir, print)
    node.format(jars)
    broker = _started(node.command(jars), node.console)
    deadline = monotonic() + START_S_MAX
    while not (await broker_status(Settings(kafka=f"127.0.0.1:{port}"))).answers:
        assert monotonic() < deadline, node.console.read_text()
    yield port, secured
    broker.terminate()
    broker.wait()


def _started(command: list[str], console: Path) -> "subprocess.Popen[bytes]":
    with console.open("wb") as output:
        return subprocess.Popen(command, stdout=output, stderr=output)


@pytest.fixture
def admin(cluster: tuple[int, int], tmp_path: Path) -> Settings:
    return Settings(
        kafka=f"127.0.0.1:{cluster[0]}",
        topic_prefix=f"acl{next(_numbers)}.",
        partitions=1,
        replication=1,
        state_dir=tmp_path,
        metrics_port=0,
        session_timeout_ms=6_000,
    )


def user(admin: Settings, cluster: tuple[int, int], name: str, **changes: object) -> Settings:
    known = {
        "kafka": f"127.0.0.1:{cluster[1]}",
        "security_protocol": "SASL_PLAINTEXT",
        "sasl_username": name,
        "sasl_password": SecretStr(PASSWORD),
    }
    return admin.model_copy(update=known | changes)


def printed(admin: Settings, *options: str) -> list[Right]:
    """As the command prints them."""
    env = {
        "SEGUE_KAFKA": admin.bootstrap,
        "SEGUE_TOPIC_PREFIX": admin.topic_prefix,
        "SEGUE_GUARANTEE": admin.guarantee,
    }
    done = CliRunner().invoke(
        main, ["topics", "acls", *options, "-o", "json"], env=env, catch_exceptions=False
    )
    assert done.exit_code == 0, done.output
    return TypeAdapter(list[Right]).validate_json(done.output)


async def grant(admin: Settings, rights: Iterable[Right]) -> None:
    client = AIOKafkaAdminClient(**admin.client_options())
    await client.start()
    for right in rights:
        for operation in right.operations:
            request = CreateAclsRequest(
                CODES[right.resource],
                right.name,
                PREFIXED if right.prefixed else LITERAL,
                right.principal,
                "*",
                CODES[operation],
                ALLOW,
            )
            response: Any = await client._send_request(request)
            assert [code for code, _ in response.creation_responses] == [0]
    await client.close()


# ---------------------------------------------------------------- what runs


async def say(_: list[ModelMessage], __: AgentInfo) -> ModelResponse:
    return ModelResponse(parts=[TextPart("fine")])


@check
def short(output: str, length: int) -> None:
    if len(output) > length:
        raise OutputRejected("too long")


@tool(retries=2, backoff_s=0.01)
async def second_time(text: str) -> str:
    if current_attempt().attempt == 1:
        raise Retryable("not yet")
    return text


@tool(retries=0)
async def never() -> None:
    raise Permanent("no")


@workflow
async def everything(task: Task) -> str:
    """Touches every topic: models, checks, retries, timers, questions, dead letters, results."""
    said = await task.model("say", "a word", check=short(length=10))
    await task.tool(second_time, said)
    await task.gather(task.tool(never), failures="return")
    await asyncio.sleep(0.05)
    return await task.ask("me", "sure?", options={"yes": "yes", "no": "no"})


APP = App(
    "acls",
    workflows=[everything],
    routes=[ModelRoute("say", [FunctionModel(say, model_name="offline")])],
    tools=[second_time, never],
    checks=[short],
    circuit_breaker=CircuitBreaker(),
)

WORKER = ("--principal", "User:worker")


@asynccontextmanager
async def working(settings: Settings, *stages: str) -> AsyncGenerator[Worker]:
    worker = Worker(APP, settings, stages or ALL_STAGES)
    await worker.start()
    try:
        yield worker
    finally:
        await worker.stop()


@pytest.mark.parametrize("guarantee", ["exactly_once", "at_least_once"])
async def test_all_works_with_the_rights_that_are_printed(
    admin: Settings, cluster: tuple[int, int], guarantee: str, caplog: pytest.LogCaptureFixture
) -> None:
    """The worker creates topics, the shop starts a task, the operator answers, the reader gets the result."""
    admin = admin.model_copy(update={"guarantee": guarantee})
    others = ("--upstream", "User:shop", "--downstream", "User:reader", "--operator", "User:operator")
    await grant(admin, printed(admin, *WORKER, "--create", *others))
    async with working(user(admin, cluster, "worker")) as worker, asyncio.timeout(60):
        await worker.ready()
        async with (
            Client(user(admin, cluster, "shop")) as shop,
            Client(user(admin, cluster, "operator")) as me,
        ):
            task = await shop.start("everything")
            await _answered(me, task)
            async with Client(user(admin, cluster, "reader")) as reader:
                result = await reader.result(task)
            assert "results" in {record.topic for record in await me.history(task)}
        assert [each.partitions for each in await survey(user(admin, cluster, "operator"))]
        while not await known(user(admin, cluster, "operator")):  # noqa: ASYNC110 - it is told each second
            await asyncio.sleep(0.2)
    assert (result.outcome, result.result) == ("succeeded", "yes")
    letter = f"stage conduct put a record of {task!r} into the dead letters: never: no"
    logged = [each for each in caplog.records if each.name.startswith("segue.streams.")]
    assert [each.getMessage() for each in logged if each.name != watchdog.__name__] == [letter]


async def _answered(me: Client, task: str) -> None:
    while True:
        with suppress(UnknownName, BadInput):  # it is not there, or does not ask yet
            await me.answer(task, "yes")
            return
        await asyncio.sleep(0.1)


STARTS = (
    ("run", "everything"),
    ("run", "everything", "--id", "new"),
    ("run", "everything", "--id", "open"),
    ("answer", "asking", "yes"),
    ("signal", "open", "go"),
    ("budget", "open", "--usd", "1"),
    ("cancel", "open"),
)
LISTS = (("tasks",), ("usage",), ("schedules",), ("dead-letters",), ("dead-letters", "show", "0:0"))
LOOKS = (
    ("show", "ended"),
    ("watch", "ended"),
    ("replay", "ended", "--app", "tests.kafka.test_acls"),
    ("topics",),
    ("health",),
    ("topics", "redrive", "tasks", "--dry-run"),
    ("topics", "redrive", "signals"),
    ("dead-letters", "redrive", "--all"),
    ("run", "everything", "--id", "ended", "--wait"),
    ("schedules", "add", "nightly", "everything", "--cron", "0 3 * * *"),
    ("schedules", "pause", "nightly"),
    ("schedules", "resume", "nightly"),
    ("schedules", "remove", "nightly"),
    ("show", "open"),
)
ROLES: dict[str, tuple[tuple[str, ...], ...]] = {
    "shop": STARTS,
    "reader": LISTS,
    "operator": (*LISTS, *LOOKS, *STARTS),
}


async def test_each_method_of_a_client_works_with_the_rights_of_its_role(
    admin: Settings, cluster: tuple[int, int]
) -> None:
    others = ("--upstream", "User:shop", "--downstream", "User:reader", "--operator", "User:operator")
    await grant(admin, printed(admin, *WORKER, "--create", *others))
    async with (
        working(user(admin, cluster, "worker")) as worker,
        Client(user(admin, cluster, "shop")) as shop,
        Client(user(admin, cluster, "reader")) as reader,
        Client(user(admin, cluster, "operator")) as operator,
        asyncio.timeout(120),
    ):
        await worker.ready()
        for name, me in (("shop", shop), ("operator", operator)):
            await me.start("everything", id=name)
            await _asks(me, name)
            with pytest.raises(UnknownName):
                await me.status("nobody")
            await me.signal(name, "go")
            await me.set_budget(name, Budget(usd=1))
            assert await me.answer(name, "yes")
            await me.start("everything", id=f"{name}-2")
            await me.cancel(f"{name}-2")
            assert (await reader.result(name)).outcome == "succeeded"
        with pytest.raises(UnknownName):
            await reader.status("nobody")
        assert {status.task for status in await reader.statuses()} >= {"shop", "operator"}
        assert await operator.history("shop")
        assert [record.topic async for record in operator.follow("shop")][-1] == "results"
        assert [piece async for piece in operator.tokens("shop")] == []
        assert (await operator.run("everything", id="operator")) == "yes"


async def test_each_command_of_a_role_works_with_the_rights_that_are_printed(
    admin: Settings, cluster: tuple[int, int]
) -> None:
    """Also where the log of an open task has expired, and its journal is read."""
    others = ("--upstream", "User:shop", "--downstream", "User:reader", "--operator", "User:operator")
    await grant(admin, printed(admin, *WORKER, "--create", *others))
    async with working(user(admin, cluster, "worker")) as worker, Client(admin) as client:
        await worker.ready()
        await client.start("everything", id="ended")
        await _answered(client, "ended")
        await client.result("ended")
        for name, commands in ROLES.items():
            for task in ("open", "asking"):
                await client.start("everything", id=f"{task}-{name}")
                await _asks(client, f"{task}-{name}")
            said = {" ".join(command): await _said(admin, cluster, name, command) for command in commands}
            assert {command: each for command, each in said.items() if each} == {}, name


async def _asks(client: Client, task: str) -> None:
    while not (await client.status(task)).questions:  # noqa: ASYNC110
        await asyncio.sleep(0.1)


async def _said(admin: Settings, cluster: tuple[int, int], name: str, command: tuple[str, ...]) -> str | None:
    """What the command said as that user, if it did not end well."""
    if command == ("show", "open"):
        await expire(admin, "events")
    named = [f"{word}-{name}" if word in ("open", "asking") else word for word in command]
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "segue.streams.cli", *named),
        env=worker_environment(user(admin, cluster, name))
        | {
            "SEGUE_SECURITY_PROTOCOL": "SASL_PLAINTEXT",
            "SEGUE_SASL_USERNAME": name,
            "SEGUE_SASL_PASSWORD": PASSWORD,
        },
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    output = (await process.communicate())[0].decode()
    return output if process.returncode != 0 else None


async def test_nobody_may_do_more(admin: Settings, cluster: tuple[int, int]) -> None:
    await provision(admin)
    rights = printed(admin, "--principal", "User:tools", "--stages", "tool", "--upstream", "User:shop")
    await grant(admin, [*rights, *printed(admin, "--downstream", "User:reader")])
    may = {
        (name, topic): await _may(user(admin, cluster, name), topic)
        for name, topic in (
            ("shop", "tasks"),
            ("shop", "status"),
            ("shop", "results"),
            ("shop", "events"),
            ("reader", "results"),
            ("reader", "tasks"),
            ("tools", "tool-calls"),
            ("tools", "model-calls"),
            ("tools", "events"),
            ("tools", "results"),
        )
    }
    assert may == {
        ("shop", "tasks"): "w",
        ("shop", "status"): "r",  # to see what is asked
        ("shop", "results"): "",
        ("shop", "events"): "",
        ("reader", "results"): "r",
        ("reader", "tasks"): "",
        ("tools", "tool-calls"): "rw",  # it notes there whom a route chose
        ("tools", "model-calls"): "",
        ("tools", "events"): "w",
        ("tools", "results"): "",
    }


async def _may(settings: Settings, topic: str) -> str:
    return ("r" if await _may_read(settings, topic) else "") + (
        "w" if await _may_write(settings, topic) else ""
    )


async def _may_read(settings: Settings, topic: str) -> bool:
    async with AIOKafkaConsumer(**settings.client_options(), auto_offset_reset="earliest") as consumer:
        consumer.assign([TopicPartition(settings.topic(topic), 0)])
        try:
            await consumer.getmany(timeout_ms=300)
        except TopicAuthorizationFailedError:
            return False
        return bool(await _known(settings, topic))


async def _known(settings: Settings, topic: str) -> bool:
    async with Reader(settings) as reader:
        return reader.exists(topic)


async def _may_write(settings: Settings, topic: str) -> bool:
    options = settings.client_options()
    async with AIOKafkaProducer(**options, request_timeout_ms=1_000) as producer:
        try:
            await producer.send_and_wait(settings.topic(topic), b"{}", partition=0)
        except KafkaError:
            return False
        return True


@pytest.mark.parametrize(
    ("resource", "name", "operation", "said"),
    [
        (
            "topic",
            "tasks",
            "Read",
            "stage intake: Kafka does not allow it Read or Write on topic {prefix}tasks: `segue",
        ),
        (
            "topic",
            "events",
            "Write",
            "stage intake: Kafka does not allow it Read or Write on topic {prefix}events: `segue",
        ),
        (
            "group",
            "segue-intake",
            "Read",
            "stage intake: Kafka does not allow it Read on group {prefix}segue-intake: `segue",
        ),
        (
            "transactional-id",
            "segue-intake-",
            "Write",
            "stage intake: Kafka does not allow it Write on transactional id {prefix}segue-intake-",
        ),
    ],
)
async def test_a_right_that_is_missing_is_named(
    resource: str,
    name: str,
    operation: str,
    said: str,
    admin: Settings,
    cluster: tuple[int, int],
    caplog: pytest.LogCaptureFixture,
) -> None:
    await provision(admin)
    rights = printed(admin, *WORKER, "--stages", "intake")
    await grant(admin, [_without(right, admin.topic_prefix + name, resource, operation) for right in rights])
    async with Client(admin) as client:
        await client.start("everything")
    said = said.format(prefix=admin.topic_prefix)
    async with working(user(admin, cluster, "worker"), "intake"), asyncio.timeout(20):
        while not any(record.getMessage().startswith(said) for record in caplog.records):  # noqa: ASYNC110
            await asyncio.sleep(0.05)
    assert "Traceback" not in caplog.text


def _without(right: Right, name: str, resource: str, operation: str) -> Right:
    if (right.name, right.resource) != (name, resource):
        return right
    return right._replace(operations=tuple(each for each in right.operations if each != operation))


async def test_a_worker_that_may_not_create_topics_says_so(admin: Settings, cluster: tuple[int, int]) -> None:
    await grant(admin, printed(admin, *WORKER))
    with pytest.raises(Unavailable, match=r"Grant CREATE on the topics"):
        await provision(user(admin, cluster, "worker"))
