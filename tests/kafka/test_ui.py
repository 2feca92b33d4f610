"""The page in a real browser, over a real broker and worker: `segue ui` beside `segue worker`."""

import asyncio
import shutil
import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest
import pytest_asyncio
from playwright.async_api import Browser, Page, async_playwright, expect

from segue.streams.client.client import Client
from segue.streams.kafka.provisioning import provision
from segue.streams.settings import Settings
from tests.kafka.conftest import settings_on, worker_environment
from tests.page.app import BOOKINGS

ROOT = Path(__file__).parents[2]
PATIENCE_S = 60.0
CHROMIUM = shutil.which("chromium")
QUIET = (
    "--no-sandbox",  # as root, in a container
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no chromium here: apt-get install chromium")


@dataclass
class Place:
    client: Client
    browser: Browser
    url: str
    bookings: Path

    @asynccontextmanager
    async def opened(self, path: str = "") -> AsyncGenerator[Page]:
        """A tab of its own. Nothing may be wrong in its console: a script that was stopped stands there."""
        context = await self.browser.new_context()
        page = await context.new_page()
        wrong: list[str] = []
        page.on("console", lambda said: wrong.append(said.text) if said.type == "error" else None)
        page.on("pageerror", lambda error: wrong.append(str(error)))
        await page.goto(self.url + path)
        yield page
        await context.close()
        expected = ("status of 404", "status of 422")  # no task yet, no answer that fits
        assert [each for each in wrong if not any(code in each for code in expected)] == []


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def place(broker: Settings, tmp_path_factory: pytest.TempPathFactory) -> AsyncGenerator[Place]:
    """One worker, one page and one browser for all tests here: each names its own tasks."""
    settings = settings_on(broker, "paged.", tmp_path_factory.mktemp("paged"))
    bookings = settings.state_dir / "bookings"
    await provision(settings)
    env = worker_environment(settings) | {BOOKINGS: str(bookings)}
    expect.set_options(timeout=PATIENCE_S * 1000)
    async with Client(settings) as client, async_playwright() as playwright:
        worker = await segue(env, "worker", "tests/page/app.py")
        page = await segue(env, "ui")
        assert page.stderr is not None
        async with asyncio.timeout(PATIENCE_S):
            url = (await page.stderr.readline()).decode().split()[-1]
        browser = await playwright.chromium.launch(executable_path=CHROMIUM, args=QUIET)
        yield Place(client, browser, url, bookings)
        await browser.close()
        worker.kill()
        page.terminate()
        _, said = await page.communicate()
        await worker.communicate()
        assert (said, page.returncode) == (b"", 130)


async def segue(env: dict[str, str], *command: str) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "segue.streams.cli", *command),
        env=env,
        cwd=ROOT,
        stderr=asyncio.subprocess.PIPE,
    )


async def test_a_list_that_is_open_fills_and_goes_on_by_itself(place: Place) -> None:
    async with place.opened("?q=listed") as page:
        await expect(page.get_by_text("No task matches")).to_be_visible()
        await place.client.start("letter", "Send it?", id="listed/1")
        row = page.get_by_role("row").filter(has_text="listed/1")
        await expect(row.get_by_text("asks author")).to_be_visible()
        await page.get_by_placeholder("Find an id").fill("being typed")
        await place.client.answer("listed/1", 1)
        await expect(row.get_by_text("succeeded")).to_be_visible()
        await expect(page.get_by_placeholder("Find an id")).to_have_value("being typed")


async def test_a_task_grows_while_it_is_watched_and_a_click_books_once(place: Place) -> None:
    async with place.opened("tasks/watched") as page:
        await expect(page.locator("#why")).to_contain_text("no task 'watched'")
        task = await place.client.start("trip", "single", id="watched")
        await expect(page.locator("#step-1")).to_contain_text("Where?")
        await page.locator("#step-1-line").click()
        await page.get_by_role("button", name="Alba").dblclick()
        await expect(page.get_by_role("heading", name="Result")).to_be_visible()
        await expect(page.locator("#ending")).to_contain_text("booked at alba")
        await expect(page.locator("#step-2")).to_contain_text("book")
        await expect(page.locator("#head")).to_contain_text("succeeded")
        await expect(page.locator("#step-1")).to_contain_text("answered")
        await expect(page.locator("#step-1-more")).to_have_attribute("open", "")  # still
        await expect(page.locator("#acts")).to_have_count(0)
    await place.client.result(task, PATIENCE_S)
    assert place.bookings.read_text() == "single alba\n"


async def test_what_a_tool_returned_is_text_and_runs_nothing(place: Place) -> None:
    await place.client.start("trip", "double", id="hostile")
    async with place.opened("questions") as page:
        asked = page.get_by_role("article").filter(has_text="hostile")
        await expect(asked).to_contain_text('<script>document.title = "owned"</script>')
        assert await asked.locator("script, img").count() == 0
        await page.goto(f"{place.url}tasks/hostile")
        await expect(page.locator("#head")).to_contain_text("onerror=")
        assert await page.title() == "hostile · Segue"
        await page.get_by_text("Cancel the task…").click()
        await page.get_by_label("Reason").fill("enough seen")
        await page.get_by_role("button", name="Cancel this task").click()
        await expect(page.locator("#ending")).to_contain_text("enough seen")


async def test_a_wrong_answer_is_told_where_it_was_given_and_what_others_type_stays(place: Place) -> None:
    await place.client.start("picky", "An even number?", id="picky")
    await place.client.start("letter", "And this letter?", id="beside")
    async with place.opened("questions") as page:
        picky = page.get_by_role("article").filter(has_text="An even number?")
        beside = page.get_by_role("article").filter(has_text="And this letter?")
        await beside.get_by_placeholder("or another answer").fill("half a sentence")
        for wrong, why in (("x", "'x' is not of type 'integer'"), ("3", "it must be even")):
            await picky.get_by_label("Answer").fill(wrong)
            await picky.get_by_label("Answer").press("Enter")
            await expect(picky.get_by_role("alert")).to_contain_text(why)
            await expect(picky.get_by_label("Answer")).to_have_value(wrong)
        await picky.get_by_label("Answer").fill("4")
        await picky.get_by_role("button", name="Answer").click()
        await expect(picky).to_have_count(0)
        await expect(page.locator("#said")).to_have_text("Answered.")
        await expect(beside.get_by_placeholder("or another answer")).to_have_value("half a sentence")
        await beside.get_by_placeholder("or another answer").press("Control+Enter")
        await expect(beside).to_have_count(0)
    assert (await place.client.result("picky", PATIENCE_S)).result == 4
    assert (await place.client.result("beside", PATIENCE_S)).result == "half a sentence"


async def test_who_opens_it_to_others_is_told_what_they_may(broker: Settings) -> None:
    env = worker_environment(broker) | {"SEGUE_UI_PORT": "0"}
    for options, may in (
        ((), "see every task, answer, signal and cancel"),
        (("--read-only",), "see every task"),
    ):
        page = await segue(env, "ui", "--host", "0.0.0.0", *options)
        assert page.stderr is not None
        try:
            async with asyncio.timeout(PATIENCE_S):
                said = [(await page.stderr.readline()).decode() for _ in range(2)]
            assert said[0].startswith("the page has no login: everyone who can reach 0.0.0.0:")
            assert said[0].endswith(f" can {may}\n")
            async with httpx.AsyncClient(trust_env=False) as browser:
                url = said[1].split()[-1]
                assert (await browser.get(f"{url}static/page.js")).status_code == 200
        finally:
            page.terminate()
            await page.communicate()


async def test_another_site_can_not_answer(place: Place, tmp_path: Path) -> None:
    await place.client.start("letter", "Send it?", id="forged")
    async with place.opened("questions") as page:
        await expect(page.get_by_role("article").filter(has_text="forged")).to_be_visible()
    fields = '<input name="task" value="forged"><input name="option" value="0"><button>'
    (tmp_path / "evil.html").write_text(f'<form action="{place.url}answer" method="post">{fields}')
    context = await place.browser.new_context()
    page = await context.new_page()
    await page.goto(f"file://{tmp_path}/evil.html")
    await page.get_by_role("button").click()
    await expect(page.get_by_text("only the page itself may ask for that")).to_be_visible()
    await context.close()
    assert (await place.client.status("forged")).state == "waiting"
