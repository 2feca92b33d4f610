"""What people see of choices and of what was spent."""

import io
from itertools import count
from typing import Any

import pytest
from click.testing import CliRunner
from rich.console import Console

from segue.processors.views.descriptions import spent_line
from segue.processors.views.timeline import Timeline
from segue.streams.cli import main
from segue.streams.cli.commands.spending import Sums
from segue.streams.cli.render import Screen
from segue.streams.cli.terminal import UNCUT
from segue.topics import codec
from segue.topics.flow import Received
from segue.topics.parts import Choice, Spent, Usage, Verdict
from segue.topics.records import CheckCall, CheckOutput, Record, Status, StepSucceeded
from tests.builders import call_model, critique, failure

OFFSETS = count()
CHOICE = Choice(order=(1, 0), by="cheapest", reason="small $0.01, large $0.1")
USED = Usage(model="m", input_tokens=90, output_tokens=10, usd=0.25)
CHOSEN = call_model(choice=CHOICE, candidate_index=1, checks=(CheckCall(name="critic", judge="critic"),))
OUTPUT = CheckOutput(task="t", call=CHOSEN, result="x", candidate="small", duration_ms=5, usage=USED, at_ms=1)
JUDGED = OUTPUT.model_copy(update={"verdict": Verdict(accepted=True, candidate="judge-a", usage=USED)})
JUDGES = call_model(route="critic", judging=OUTPUT)
TOLD = StepSucceeded(
    task="t",
    step=0,
    fingerprint="p",
    result="x",
    route="rank",
    candidate="small",
    usage=USED,
    spent=Spent(calls=2, input_tokens=180, output_tokens=20, usd=0.5),
    choice=CHOICE,
    at_ms=2,
)


def timeline(*records: tuple[str, Record]) -> tuple[Timeline, list[Any]]:
    told = Timeline("t", {"rank": ["large", "small"]})
    events = [
        told.apply(Received(topic, 0, next(OFFSETS), b"t", codec.encode(record), (), 1))
        for topic, record in records
    ]
    return told, [event for event in events if event is not None]


def shown(told: Timeline) -> str:
    console = Console(file=io.StringIO(), width=UNCUT, highlight=False)
    Screen(console).timeline(told)
    return console.file.getvalue()  # type: ignore[attr-defined,no-any-return]


# ---------------------------------------------------------------- it happens


def test_a_choice_a_verdict_and_a_cost_are_told() -> None:
    told, events = timeline(
        ("model-calls", call_model()),
        ("model-calls", CHOSEN),
        ("checks", OUTPUT),
        ("model-calls", JUDGES),
        ("checks", JUDGED),
        ("events", TOLD),
    )
    assert [(event.what, event.by, event.text) for event in events] == [
        ("choice", "small", "cheapest: small $0.01, large $0.1"),
        ("check", "judge-a", "accepts the output"),
        ("model", "small", "x"),
    ]
    lines = shown(told).splitlines()
    assert [line.split() for line in lines if line.startswith("spent")] == [
        ["spent", "$0.50", "200", "tokens", "in", "2", "calls", "of", "models"]
    ]
    assert any(line.strip() == "cheapest: small $0.01, large $0.1" for line in lines)
    assert any("$0.25 100 tokens  x" in line for line in lines)


def test_a_judges_failure_is_no_attempt_of_the_step() -> None:
    told, events = timeline(
        ("model-calls", CHOSEN), ("checks", OUTPUT), ("failures", failure(JUDGES, candidate="judge-a"))
    )
    [attempt] = told.steps[0].attempts.values()
    assert attempt.outcome == "checking"
    assert (events[-1].what, events[-1].text) == ("check", "judge critic: no")


def test_a_refused_attempt_tells_what_it_consumed() -> None:
    told, _ = timeline(("failures", failure(call_model(), critique=critique(), usage=USED)))
    assert told.spent == Spent.of(USED)


def test_tasks_are_summed_with_the_dearest_first_and_children_with_their_parents() -> None:
    def status(task: str, spent: Spent | None, tenant: str | None = None, **more: Any) -> Status:
        given: dict[str, Any] = {"workflow": f"w-{tenant}", "version": 1, "state": "succeeded"}
        given |= {"partition": 0, "offset": 0, "started_ms": 0, "at_ms": 0}
        return Status(task=task, spent=spent, tenant=tenant, **given, **more)

    one = Spent(calls=1, usd=1)
    every = [
        status("a", one),
        status("b", one, "acme"),
        status("c", one, "acme"),
        status("c/1", one, "acme", parent="c"),
        status("d", None, "idle"),
    ]
    by_tenant, by_workflow = Sums("tenant"), Sums("workflow")
    for each in every:
        by_tenant.add(each)
        by_workflow.add(each)
    assert by_tenant.dearest_first == [("acme", 2, Spent(calls=2, usd=2)), ("", 1, one)]
    assert [name for name, *_ in by_workflow.dearest_first] == ["w-acme", "w-None"]


# ---------------------------------------------------------------- already, and never


def test_a_verdict_that_is_told_twice_is_no_second_moment_after_the_outcome() -> None:
    _, events = timeline(("model-calls", call_model()), ("model-calls", CHOSEN), ("model-calls", CHOSEN))
    assert [event.what for event in events] == ["choice"]


@pytest.mark.parametrize(
    ("spent", "told"),
    [
        (Spent(input_tokens=800, output_tokens=12, usd=0.0123), "$0.0123 812 tokens"),
        (Spent(input_tokens=1_200, unpriced_tokens=200, usd=1.5), "$1.50 + ? 1,200 tokens"),
        (Spent(input_tokens=200, unpriced_tokens=200), "? 200 tokens"),
        (Spent(input_tokens=200), "$0.00 200 tokens"),
    ],
)
def test_what_has_no_price_is_told_with_a_question_mark(spent: Spent, told: str) -> None:
    assert spent_line(spent) == told


def test_a_budget_that_says_nothing_is_refused_before_anything_is_sent() -> None:
    ran = CliRunner().invoke(main, ["budget", "t"])
    assert (ran.exit_code, ran.output) == (2, "segue: no budget is given: give --usd, --tokens or both\n")
