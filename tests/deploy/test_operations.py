"""What docs/operations.md says in tables is what the code has."""

import re
from pathlib import Path

from segue.streams.settings import ENV_PREFIX, Settings
from segue.topics import contracts
from segue.topics.contracts import DAY_MS, Topic
from tests.streams.worked import worked

TEXT = (Path(__file__).parents[2] / "docs/operations.md").read_text()

SUFFIX = {"counter": "_total", "info": "_info"}


def rows(section: str) -> list[list[str]]:
    """The cells of the section's table, without its head."""
    (part,) = re.findall(rf"^## {section}\n(.*?)(?=^## |\Z)", TEXT, re.MULTILINE | re.DOTALL)
    lines = [line for line in part.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:]]


def test_the_table_of_metrics_is_what_a_worker_exposes() -> None:
    exposed = [
        [
            family.name + SUFFIX.get(family.type, ""),
            family.type,
            [n for n in family.samples[0].labels if n != "le"],
        ]
        for family in worked().registry.collect()
        if family.name.startswith("segue_")
    ]
    told = [
        [name.strip("`"), kind, re.findall(r"`(\w+)`", labels)] for name, kind, labels, _ in rows("Metrics")
    ]
    assert told == exposed


def test_the_table_of_topics_is_the_contracts() -> None:
    assert rows("Topics") == [_row(topic) for topic in contracts.ALL]


def _row(topic: Topic) -> list[str]:
    kept = "compacted" if topic.cleanup == "compact" else f"{topic.retention_ms // DAY_MS} days"
    stages = ", ".join(topic.written_by), ", ".join(topic.read_by)
    return [f"`{topic.name}`", topic.holds, *stages, kept, f"{topic.record_bytes_max:,}"]


def test_every_variable_that_is_named_is_a_setting() -> None:
    named = set(re.findall(rf"`{ENV_PREFIX}(\w+)`", TEXT))
    assert {name.lower() for name in named} <= Settings.model_fields.keys()


def test_the_defaults_that_are_told_are_the_settings_own() -> None:
    told = {
        cells[0].strip("`").removeprefix(ENV_PREFIX).lower(): cells[1].strip("`")
        for cells in rows("Cluster settings")
    }
    for name in (
        "partitions",
        "metrics_host",
        "metrics_port",
        "ui_port",
        "session_timeout_ms",
        "guarantee",
        "security_protocol",
    ):
        assert told[name] == str(Settings.model_fields[name].default)


def test_the_limits_that_are_told_are_the_settings_own() -> None:
    for variable, default, *_ in rows("Limits"):
        field = Settings.model_fields[variable.strip("`").removeprefix(ENV_PREFIX).lower()]
        assert (
            field.default == int(default)
            if default != "none"
            else not field.get_default(call_default_factory=True)
        )
