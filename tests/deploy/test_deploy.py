"""What `deploy/` says of our metrics is true, and its files are what their programs read.

Without Docker: the compose file is read as YAML. promtool checks rules and metrics where it is installed
(Debian's package `prometheus`).
"""

import importlib
import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import pytest
import yaml
from prometheus_client import generate_latest

from segue.streams.cli.apps import find_app
from tests.streams.worked import worked

DEPLOY = Path(__file__).parents[2] / "deploy"
DASHBOARD = DEPLOY / "grafana/dashboards/segue.json"
RULES = DEPLOY / "prometheus/rules.yml"
OPERATIONS = DEPLOY.parent / "docs/operations.md"

TARGET_LABELS = {"job", "instance"}
"""Prometheus itself adds these to every series that it scrapes."""

KNOWN = {
    sample.name: set(sample.labels) | TARGET_LABELS
    for family in worked().registry.collect()
    for sample in family.samples
    if not sample.name.endswith("_created")
} | {"up": TARGET_LABELS, "segue:attempt_failure_ratio:10m": {"route", "candidate"}}
"""Every name that a query may use, with its labels."""

SELECTED = re.compile(r"\b((?:segue|process|python|up)[\w:]*)(?:\{([^}]*)\})?")
MATCHED = re.compile(r"(\w+)\s*(?:=~|!~|!=|=)")
GROUPED = re.compile(r"\bby\s*\(([^)]*)\)")
SHOWN = re.compile(r"\{\{\s*(?:\$labels\.)?(\w+)\s*\}\}")


def panels() -> list[dict[str, Any]]:
    return [p for p in json.loads(DASHBOARD.read_text())["panels"] if p["type"] != "row"]


def rules() -> list[dict[str, Any]]:
    groups = yaml.safe_load(RULES.read_text())["groups"]
    return [rule for group in groups for rule in group["rules"]]


def queries() -> Iterator[tuple[str, str, str]]:
    """Where it stands, the expression, and the text that shows its labels."""
    for panel in panels():
        for target in panel["targets"]:
            yield panel["title"], target["expr"], target["legendFormat"]
    for rule in rules():
        shown = rule.get("annotations", {}).get("summary", "")
        yield rule.get("alert") or rule["record"], rule["expr"], shown


def compose() -> dict[str, Any]:
    read: dict[str, Any] = yaml.safe_load((DEPLOY / "compose.yaml").read_text())
    return read


QUERIES = [pytest.param(expr, shown, id=f"{n}-{where}") for n, (where, expr, shown) in enumerate(queries())]


@pytest.mark.parametrize(("expr", "shown"), QUERIES)
def test_a_query_uses_metrics_and_labels_that_a_worker_has(expr: str, shown: str) -> None:
    used = SELECTED.findall(expr)
    assert used
    assert {name for name, _ in used} <= KNOWN.keys()
    for name, matchers in used:
        assert set(MATCHED.findall(matchers)) <= KNOWN[name]
    grouped = {label.strip() for labels in GROUPED.findall(expr) for label in labels.split(",")} - {"le"}
    labels = {label for name, _ in used for label in KNOWN[name]}
    assert grouped <= labels
    assert set(SHOWN.findall(shown)) <= (grouped or labels)


def test_every_metric_of_ours_stands_on_the_dashboard() -> None:
    shown = {name for panel in panels() for t in panel["targets"] for name, _ in SELECTED.findall(t["expr"])}
    families = {re.sub(r"_(bucket|count|sum)$", "", name) for name in shown}
    ours = {re.sub(r"_(bucket|count|sum)$", "", name) for name in KNOWN if name.startswith("segue_")}
    assert ours <= families


def test_every_alert_has_a_test_and_a_page_that_says_what_to_do() -> None:
    alerts = {rule["alert"] for rule in rules() if "alert" in rule}
    tests = yaml.safe_load((DEPLOY / "prometheus/rules_test.yml").read_text())["tests"]
    fired = {t["alertname"] for test in tests for t in test["alert_rule_test"] if t["exp_alerts"]}
    pages = set(re.findall(r"^### (Segue\w+)$", OPERATIONS.read_text(), re.MULTILINE))
    assert fired == pages == alerts


def test_the_dashboard_finds_its_data_source() -> None:
    provisioned = yaml.safe_load((DEPLOY / "grafana/provisioning/datasources/prometheus.yaml").read_text())
    assert {panel["datasource"]["uid"] for panel in panels()} == {
        s["uid"] for s in provisioned["datasources"]
    }


def test_all_images_are_pinned() -> None:
    images = {service["image"] for service in compose()["services"].values()}
    lines = (DEPLOY / "Dockerfile").read_text().splitlines()
    images |= {line.split()[1] for line in lines if line.startswith("FROM")}
    assert [image for image in images if not re.search(r":(\d|v\d|local$)", image)] == []


def test_files_that_compose_mounts_or_builds_from_are_there() -> None:
    mounted = [
        volume.split(":")[0] for s in compose()["services"].values() for volume in s.get("volumes", [])
    ]
    assert [path for path in mounted if path.startswith(".") and not (DEPLOY / path).exists()] == []
    assert (DEPLOY / compose()["x-worker"]["build"]["context"] / "deploy/Dockerfile").exists()


def test_workers_run_each_stage_of_an_app_that_exists(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(DEPLOY.parent)
    commands = [compose()["services"][name]["command"] for name in ("pure", "effects")]
    stages = [stage for *_, given in commands for stage in given.split(",")]
    assert sorted(stages) == ["check", "conduct", "delay", "intake", "model", "recover", "tool"]
    assert {find_app(app).name for _, app, *_ in commands} == {"travel"}


def test_prometheus_asks_every_service_that_runs_workers() -> None:
    config = yaml.safe_load((DEPLOY / "prometheus/prometheus.yml").read_text())
    (job,) = config["scrape_configs"]
    scraped = {name for sd in job["dns_sd_configs"] for name in sd["names"]}
    assert scraped == {
        n for n, s in compose()["services"].items() if (s.get("command") or [""])[0] == "worker"
    }


@pytest.mark.parametrize("name", ["availability", "booking", "transfer"])
def test_the_services_of_the_example_know_the_options_that_they_are_given(name: str) -> None:
    service = compose()["services"][name]
    program: click.Command = importlib.import_module(service["entrypoint"][-1]).main
    known = {option for parameter in program.params for option in parameter.opts}
    assert {given for given in service["command"] if given.startswith("--")} <= known


# ---------------------------------------------------------------- promtool

needs_promtool = pytest.mark.skipif(
    shutil.which("promtool") is None, reason="no promtool here: apt-get install prometheus"
)


def promtool(*arguments: str, stdin: bytes = b"") -> str:
    """What it says, if anything is wrong."""
    done = subprocess.run(
        ["promtool", *arguments], input=stdin, cwd=DEPLOY / "prometheus", capture_output=True, check=False
    )
    return "" if done.returncode == 0 else (done.stdout + done.stderr).decode()


@needs_promtool
def test_prometheus_accepts_configuration_and_rules() -> None:
    assert promtool("check", "config", "prometheus.yml") == ""


@needs_promtool
def test_alerts_fire_when_they_must_and_only_then() -> None:
    assert promtool("test", "rules", "rules_test.yml") == ""


@needs_promtool
def test_names_and_help_of_metrics_follow_the_conventions() -> None:
    assert promtool("check", "metrics", stdin=generate_latest(worked().registry)) == ""
