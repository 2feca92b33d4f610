"""What people ask for by forms: answers, signals, the end; and what they are told."""

import html
from typing import Any

import pytest

from segue.streams.ui.forms import answer_in, fields_of
from segue.topics.records import Answered, Question
from tests.page.played import Played, browser, decoded
from tests.page.seen import Elements


async def test_open_questions_of_all_tasks_stand_on_one_page_the_oldest_first(source: Played) -> None:
    await source.start("letter", "The first?", "a")
    await source.start("trip", "single", "b")
    await source.start("letter", "The last?", "c")
    async with browser(source) as there:
        every, author = (await there.get("/questions")).text, (await there.get("/questions?to=author")).text
    assert every.index("The first?") < every.index("Where?") < every.index("The last?")
    assert "<title>(3) Questions" in every
    assert (author.count("<article"), "Where?" in author) == (2, False)


async def test_a_press_of_a_button_answers_under_one_s_name_and_twice_counts_once(source: Played) -> None:
    await source.start("trip", "single")
    form = {"task": "t", "step": "1", "option": "0", "back": "questions", "to": "customer"}
    async with browser(source) as there:
        named = await there.post("/name", data={"name": " Ada Lovelace ", "to": ""})
        assert "HttpOnly" in named.headers["set-cookie"]
        done = await there.post("/answer", data=form)
        again = await there.post("/answer", data=form)
        page = (await there.get("/tasks/t")).text
    assert (done.status_code, done.headers["location"]) == (303, "/questions?to=customer&said=answered")
    assert (again.status_code, "has no open question" in again.text) == (422, True)
    [answered] = [event for event in decoded(source, "events") if isinstance(event, Answered)]
    assert (answered.value, answered.by) == ("alba", "Ada Lovelace")
    assert "answered by Ada Lovelace" in page
    assert source.driver.result().result == "booked at alba"


GUEST = {"value.name": "Ada", "value.nights": "3", "value.bed": "double", "value.wish": "7"}
MEANT = {"name": "Ada", "nights": 3, "bed": "double", "wish": "7", "breakfast": False, "window": False}
LEAST = {"value.name": "7", "value.nights": "1", "value.breakfast": "on", "value.window": "on"}
REST = {"name": "7", "nights": 1, "bed": "single", "wish": None, "breakfast": True, "window": True}


@pytest.mark.parametrize(
    ("workflow", "form", "result"),
    [
        ("survey", GUEST, MEANT | {"floor": None}),
        ("survey", LEAST, REST | {"floor": None}),
        ("letter", {"value": "12"}, "12"),
        ("letter", {"option": "0"}, 1),
        ("picky", {"value": "4"}, 4),
    ],
)
async def test_what_is_filled_in_is_the_answer(
    source: Played, workflow: str, form: dict[str, str], result: Any
) -> None:
    await source.start(workflow, "Well?")
    async with browser(source) as there:
        done = await there.post("/answer", data={"task": "t", "step": "0", **form})
    assert done.headers["location"] == "/tasks/t?said=answered"
    assert source.driver.result().result == result


async def test_a_form_begins_with_what_is_answered_if_nothing_is_changed(source: Played) -> None:
    await source.start("survey", "Who?")
    async with browser(source) as there:
        page = Elements((await there.get("/tasks/t")).text)
    boxes = {box["name"]: "checked" in box for box in page.all("input") if box.get("type") == "checkbox"}
    assert boxes == {"value.breakfast": False, "value.window": True, "force": False}
    assert [choice for choice in page.all("option") if "selected" in choice] == [{"selected": None}] * 2
    assert "JSON that fits" not in page.text


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "object", "properties": {"x": True}},
        {"type": "object", "properties": [1]},
        {"type": "object"},
        {"anyOf": [True, {"type": "null"}]},
        {"anyOf": 1, "title": 1, "description": [], "default": {"a": 1}},
        {"enum": [1, None]},
        {"type": ["string", "null"]},
        {},
    ],
)
def test_a_schema_that_is_no_form_is_a_field_for_json(schema: dict[str, Any]) -> None:
    asked = Question(task="t", step=0, workflow="w", to="lead", text="?", answer=schema, at_ms=0)
    [field] = fields_of(asked)
    assert (field.name, field.kind) == ("value", "json")
    assert answer_in(asked, {"value": '{"x": 1}'}) == {"x": 1}


@pytest.mark.parametrize(
    ("workflow", "form", "why"),
    [
        ("survey", GUEST | {"value.nights": "many"}, "nights: 'many' is not of type 'integer'"),
        ("trip", {"option": "9"}, "the answer is not one of the options"),
        ("picky", {"value": "x"}, "'x' is not of type 'integer'"),
        ("picky", {"value": "3"}, "it must be even"),
    ],
)
@pytest.mark.parametrize("back", ["task", "questions"])
async def test_an_answer_that_does_not_fit_is_told_at_its_form_with_what_was_typed(
    source: Played, workflow: str, form: dict[str, str], why: str, back: str
) -> None:
    await source.start(workflow, "Well?")
    step = "1" if workflow == "trip" else "0"
    async with browser(source) as there:
        done = await there.post("/answer", data={"task": "t", "step": step, "back": back, **form})
    assert done.status_code == 422
    refused = Elements(done.text)
    assert why in html.unescape(done.text)
    assert [p.get("role") for p in refused.all("p") if p.get("class") == "refused"] == ["alert"]
    for typed in set(form.values()) - {"on", "9"}:
        assert typed in [str(field.get("value")) for field in refused.all("input")] or typed in refused.text
    assert decoded(source, "results") == []


async def test_an_answer_that_nobody_takes_up_yet_is_told_so_and_given_twice_counts_once(
    source: Played,
) -> None:
    await source.start("trip", "single")
    source.works = False
    async with browser(source) as there:
        form = {"task": "t", "step": "1", "option": "0"}
        done = await there.post("/answer", data=form, follow_redirects=True)
        again = await there.post("/answer", data=form)
    assert "is a worker running?" in done.text
    assert again.status_code == 303
    source.works = True
    await source.work()
    assert (source.driver.result().result, source.driver.reasons()) == ("booked at alba", [])


@pytest.mark.parametrize(
    "value", ["NaN", "-Infinity", "[" * 50_000, "[" * 300 + "]" * 300, "9" * 5_000, r'"\ud800"', "\x00"]
)
async def test_no_answer_is_too_odd_to_be_told_of(source: Played, value: str) -> None:
    await source.start("picky", "Well?")
    async with browser(source) as there:
        refused = await there.post("/answer", data={"task": "t", "step": "0", "value": value})
    assert (refused.status_code, decoded(source, "results")) == (422, [])


async def test_a_signal_is_sent_and_a_task_is_cancelled_with_its_reason(source: Played) -> None:
    await source.start("sleeps", "x")
    async with browser(source) as there:
        nameless = await there.post("/signal", data={"task": "t", "name": " ", "value": "kept"})
        told = await there.post("/signal", data={"task": "t", "name": "wake", "value": '{"a": 1}'})
        page = (await there.get("/tasks/t")).text
        done = await there.post("/cancel", data={"task": "t", "reason": "no need"})
        ended = await there.post("/cancel", data={"task": "t", "reason": ""})
    assert (nameless.status_code, "name is missing" in nameless.text, "kept" in nameless.text) == (
        422,
        True,
        True,
    )
    assert (told.headers["location"], done.headers["location"]) == (
        "/tasks/t?said=signalled",
        "/tasks/t?said=cancelled",
    )
    assert "wake" in page
    assert "a=1" in page
    result = source.driver.result()
    assert (result.outcome, "no need" in str(result.problem)) == ("cancelled", True)
    assert ended.status_code == 422


async def test_a_task_is_ended_by_force_where_the_box_is_ticked(source: Played) -> None:
    for task, force in (("a", {}), ("b", {"force": "on"})):
        await source.start("sleeps", "x", task=task)
        async with browser(source) as there:
            await there.post("/cancel", data={"task": task, "reason": "no need", **force})
    found = [source.driver.result(task).problem for task in "ab"]
    assert ["by force" in str(problem) for problem in found] == [False, True]
