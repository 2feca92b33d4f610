"""What the page shows of tasks that have gone through all stages, in memory."""

import html
from urllib.parse import quote

import pytest

from segue import App, Task, workflow
from segue.streams.ui.index import Index
from segue.streams.ui.rendering import STEPS_MAX, task_url
from segue.topics.errors import Unavailable
from tests.page.app import HOSTILE, broken
from tests.page.played import Played, browser
from tests.page.seen import PATHS, Elements, assert_harmless, shown

ODD = ("a/b/../c", 'say "hi"?', "<script>alert(1)</script>", "ü & ñ # %2F", " ", "..", "x;y=z+w", "'")


async def test_tasks_are_listed_with_what_they_wait_for_or_why_they_failed(source: Played) -> None:
    await source.start("trip", "single", "waits", tenant="acme")
    await source.start("fails", "single", "failed")
    async with browser(source) as there:
        page = (await there.get("/")).text
    assert page.index('href="/tasks/failed"') < page.index('href="/tasks/waits"')  # the newest first
    text = shown(page)
    for told in ("trip · for acme", "asks customer Where?", "waiting", "broken: RuntimeError: no single"):
        assert told in text
    assert_harmless(page)


async def test_tasks_are_filtered_counted_and_turned_over(source: Played) -> None:
    for number in range(60):
        await source.start("letter", "Send?", f"letter-{number:02}")
    await source.start("fails", "x", "the-failed")
    async with browser(source) as there:
        first, second = (await there.get("/")).text, (await there.get("/?page=2")).text
        failed, found = (await there.get("/?state=failed")).text, (await there.get("/?q=R-07")).text
        none = (await there.get("/?q=nowhere&state=nonsense&page=99")).text
    assert (first.count("<tr id="), second.count("<tr id=")) == (50, 11)
    assert "page 1 of 2" in first
    assert "waiting 60" in shown(first)
    assert (failed.count("<tr id="), "waiting <b>60</b>" in failed) == (1, True)
    assert (found.count("<tr id="), "letter-07" in found) == (1, True)
    assert "No task matches" in none


async def test_a_task_is_shown_with_its_steps_and_why_it_failed(source: Played) -> None:
    await source.start("fails", "single")
    async with browser(source) as there:
        page = (await there.get("/tasks/t")).text
    text = shown(page)
    for told in ("input single", "Why it failed", "broken: RuntimeError: no single", "raise RuntimeError("):
        assert told in text
    assert '"room": "single"' in text  # what the tool was asked
    assert "data-follow" not in page


async def test_children_and_parents_lead_to_each_other(source: Played) -> None:
    await source.start("family", "a room", "the family")
    async with browser(source) as there:
        parent = (await there.get("/tasks/the%20family")).text
        child = (await there.get("/tasks/the%20family%2F0")).text
    assert 'href="/tasks/the%20family%2F0"' in parent
    assert 'href="/tasks/the%20family"' in child
    assert "Shall we take a room?" in shown(child)


async def test_of_a_task_that_went_on_anew_earlier_runs_are_a_link_away(source: Played) -> None:
    await source.start("rounds", 2)
    async with browser(source) as there:
        last, first = (await there.get("/tasks/t")).text, (await there.get("/tasks/t?run=0")).text
    assert 'href="/tasks/t?run=1"' in last
    assert "went on with" in shown(first)


async def test_of_many_steps_the_last_are_shown_and_the_others_turned_over(source: Played) -> None:
    await source.start("many", STEPS_MAX + 5)
    async with browser(source) as there:
        last, before = (await there.get("/tasks/t")).text, (await there.get("/tasks/t?before=5")).text
    assert (last.count('<li id="step-'), before.count('<li id="step-')) == (STEPS_MAX, 5)
    assert "← 5 earlier" in shown(last)


async def test_what_is_far_too_large_is_cut(source: Played) -> None:
    await source.start("letter", "x" * 100_000)
    await source.start("sleeps", "y" * 100_000, "long")
    async with browser(source) as there:
        page = (await there.get("/tasks/long")).text
    assert "94,000 characters more" in page
    assert len(page) < 30_000


async def test_dead_letters_are_listed_with_their_bytes(source: Played) -> None:
    await source.start("nothing", 1, "unknown")
    source.driver.produce("tasks", b"\xff<script>", "odd")
    await source.start("sleeps", "x")
    async with browser(source) as there:
        page = (await there.get("/dead-letters")).text
    assert page.index('href="/tasks/odd"') < page.index('href="/tasks/unknown"')
    assert "\N{REPLACEMENT CHARACTER}&lt;script&gt;" in page
    assert_harmless(page)


@pytest.mark.parametrize("task", ODD)
async def test_any_id_has_a_page_and_can_be_answered(source: Played, task: str) -> None:
    await source.start("letter", "Send?", task)
    async with browser(source) as there:
        listed = Elements((await there.get("/")).text)
        [link] = [str(a["href"]) for a in listed.all("a") if a.get("class") == "id"]
        assert link == task_url(task)
        page = (await there.get(link)).text
        assert "Send?" in page
        assert_harmless(page)
        form = {"task": task, "step": "0", "option": "0", "back": "task"}
        done = await there.post("/answer", data=form)
    assert (done.status_code, done.headers["location"].startswith(link)) == (303, True)
    assert source.driver.result(task).result == 1


def test_an_id_that_browsers_take_for_a_folder_stands_in_the_query() -> None:
    assert [task_url(task) for task in ("..", "a/..")] == ["/tasks/?id=..", "/tasks/a%2F.."]


async def test_what_is_not_there_is_told_as_a_page(source: Played) -> None:
    async with browser(source) as there:
        task, page = await there.get("/tasks/nobody"), await there.get("/nowhere")
    assert (task.status_code, page.status_code) == (404, 404)
    assert "no task 'nobody'" in html.unescape(task.text)


async def test_who_has_the_list_as_it_is_gets_no_second_one(source: Played) -> None:
    await source.start("letter", "Send?")
    async with browser(source) as there:
        first = await there.get("/")
        again = await there.get("/", headers={"If-None-Match": first.headers["etag"]})
        await source.start("letter", "And this?", "u")
        changed = await there.get("/", headers={"If-None-Match": first.headers["etag"]})
    assert (again.status_code, again.content, changed.status_code) == (304, b"", 200)


@workflow(name="trip")
async def changed(task: Task, room: str) -> str:
    return await task.tool(broken, room=room)


async def test_a_parked_task_says_why_and_that_nothing_is_lost(source: Played) -> None:
    await source.start("trip", "single")
    source.driver.restart(App("paged", workflows=[changed], tools=[broken]))
    source.driver.produce("signals", {"kind": "signal", "task": "t", "name": "x"})
    await source.work()
    async with browser(source) as there:
        page, listed = shown((await there.get("/tasks/t")).text), shown((await there.get("/")).text)
    assert "parked" in page
    assert "It can't go on" in page
    assert "Nothing is lost" in page
    why = (await source.status("t")).problem
    assert why is not None
    assert why.message in html.unescape(page)
    assert why.message in html.unescape(listed)


@pytest.mark.parametrize("workflow", ["trip", "survey", "letter", "picky", "fails", "family", "sleeps"])
async def test_whatever_a_task_says_stays_text(source: Played, workflow: str) -> None:
    await source.start(workflow, HOSTILE, HOSTILE, tenant=HOSTILE.replace("/", ""))
    source.driver.produce(
        "signals", {"kind": "signal", "task": HOSTILE, "name": HOSTILE, "value": HOSTILE}, HOSTILE
    )
    source.driver.produce("signals", {"kind": "answer", "task": HOSTILE, "value": {"no": HOSTILE}}, HOSTILE)
    await source.work()
    async with browser(source) as there:
        pages = [(await there.get(path)).text for path in (*PATHS, f"/tasks/{quote(HOSTILE, safe='')}")]
        wrong = {"task": HOSTILE, "step": "0", "value": HOSTILE, "value.name": HOSTILE, "option": HOSTILE}
        pages.append((await there.post("/answer", data=wrong)).text)
        pages.append((await there.post("/answer", data=wrong | {"back": "questions", "to": HOSTILE})).text)
        pages.append((await there.get(f"/?q={quote(HOSTILE)}&workflow={quote(HOSTILE)}")).text)
    for page in pages:
        assert_harmless(page)
    assert HOSTILE in shown(pages[3].replace("&lt;", "‹").replace("<", "\n<")).replace(
        "‹", "<"
    ) or HOSTILE in html.unescape(pages[3])


async def test_where_the_broker_is_out_of_reach_every_page_and_form_says_so(
    source: Played, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def index() -> Index:
        raise Unavailable("no broker answers at <here>")

    await source.start("trip", "single")
    monkeypatch.setattr(source, "index", index)
    async with browser(source) as there:
        told = [await there.get(path) for path in (*PATHS, "/tasks/t", "/live?task=t")]
        told.append(await there.post("/answer", data={"task": "t", "step": "1", "option": "0"}))
    for each in told:
        assert each.status_code == 503
        assert "no broker answers at &lt;here&gt;" in each.text
    assert '<p id="said" role="status" tabindex="-1" class="bad">no broker answers' in told[-1].text
