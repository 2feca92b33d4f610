"""How the workflow loops: until nothing is objected to, or the budget of rounds is spent."""

from pathlib import Path
from typing import Any

import pytest

from examples.research import tools
from examples.research import workflow as researching
from examples.research.checks import cites_only_found
from examples.research.models import Passage, Passages, Report
from examples.research.routes import critic, plan, write
from segue import App, Policy, Task, ToolRoute, tool, workflow
from segue.topics.records import CallModel
from tests.driver import Driver, Model

PASSAGE = Passage(id="doc#1", document="Doc", year=2020, text="Awnings cost 90 euros.")
CLAIM = {"question": "cost of awnings", "quote": PASSAGE.text, "source": PASSAGE.id}
QUESTIONS = ["cost of awnings", "cost of shutters"]

published: list[str] = []
failing: set[str] = set()


@tool
async def look(query: str, limit: int = 5) -> Passages:
    if query in failing:
        raise OSError("the disk is gone")
    return Passages(passages=[PASSAGE])


@tool
async def publish(text: str) -> str:
    published.append(text)
    return "report.md"


def played(verdicts: list[list[dict[str, Any]]], *broken: str) -> Driver:
    """The verdicts come one after the other; the last one again and again."""
    published.clear()
    failing.clear()
    failing.update(broken)
    asked: list[CallModel] = []

    def criticize(call: CallModel) -> Any:
        asked.append(call)
        return {"objections": verdicts[min(len(asked), len(verdicts)) - 1]}

    app = App(
        "test",
        workflows=[researching.research],
        routes=[plan, write, critic, ToolRoute("search", [look], output=Passages, policy=Policy(retries=0))],
        tools=[publish],
        checks=[cites_only_found],
    )
    models: dict[str, Model] = {
        "plan": lambda call: {"questions": QUESTIONS},
        "write": lambda call: {"claims": [CLAIM], "unanswered": []},
        "critic": criticize,
    }
    driver = Driver(app, models)
    driver.submit("research", "Awnings or shutters?")
    driver.run()
    return driver


def report(driver: Driver) -> Report:
    assert driver.result().outcome == "succeeded", driver.result().problem
    return Report.model_validate(driver.result().result)


def test_without_objections_one_round_does() -> None:
    found = report(played([[]]))
    assert (found.rounds, found.unsettled, len(published)) == (1, [], 1)
    assert "1. Doc (2020), `doc#1`" in published[0]


def test_an_objection_is_looked_up_and_written_about_again() -> None:
    driver = played([[{"about": "x", "problem": "no source", "search": "prices of shutters"}], []])
    assert report(driver).rounds == 2
    searched = [call.arguments["query"] for call in driver.records("tool-calls") if call.route == "search"]
    assert searched == [*QUESTIONS, "prices of shutters"]


def test_what_is_objected_to_for_ever_is_published_with_the_objection() -> None:
    found = report(played([[{"about": "doc#1", "problem": "it is a guess"}]]))
    assert (found.rounds, found.unsettled) == (researching.ROUNDS_MAX, ["it is a guess"])
    [text] = published
    assert "## Not settled\n\n- doc#1: it is a guess" in text


def test_a_search_that_fails_costs_what_it_would_have_found() -> None:
    assert report(played([[]], QUESTIONS[0])).claims == 1


def test_where_every_search_fails_nothing_is_published() -> None:
    driver = played([[]], *QUESTIONS)
    assert (driver.result().outcome, published) == ("failed", [])


def test_a_report_that_is_published_again_after_a_crash_is_one_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SEGUE_STATE_DIR", str(tmp_path))

    @workflow
    async def say(task: Task, text: str) -> str:
        return await task.tool(tools.publish, text)

    driver = Driver(App("test", workflows=[say], tools=[tools.publish]), crashes={3: 0})
    driver.submit("say", "Awnings.")
    driver.run()
    assert driver.ran == ["t/0/1 publish"] * 2
    [written] = (tmp_path / "research").iterdir()
    assert (driver.result().result, written.read_text()) == (str(written), "Awnings.")
