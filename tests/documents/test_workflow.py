"""The workflow in memory, with the offline model and the real folder: what people say to it, or don't."""

from typing import Any

import pytest

from examples.documents import library
from examples.documents.checks import quoted
from examples.documents.models import Passage, Passages, Point, Summary
from examples.documents.offline.model import answer
from examples.documents.routes import read, summarize, write
from examples.documents.tools import send
from examples.documents.workflow import NOTES_MAX, tell
from segue import App, OutputRejected, tool
from segue.topics.records import CallModel, Question
from tests.driver import Driver

REQUEST = "tell dana@example.com what the move to Harbour Street means for her team"


@tool(name="document_search")
async def search(query: str) -> Passages:
    """The MCP server's function, in this process."""
    return Passages(passages=library.search(query))


def said(call: CallModel) -> Any:
    schema: dict[str, Any] = call.output or {}
    given = answer(schema.get("title"), call.prompt)
    return given.model_dump(mode="json") if given else None


def asked(request: str) -> Driver:
    app = App(
        "documents", workflows=[tell], routes=[read, summarize, write], tools=[search, send], checks=[quoted]
    )
    driver = Driver(app, {"read": said, "summarize": said, "write": said})
    driver.submit("tell", request)
    driver.run(until_ms=driver.now_ms + 1000)
    return driver


def question(driver: Driver) -> Question:
    return [record for record in driver.records("questions") if isinstance(record, Question)][-1]


def answered(driver: Driver, value: Any) -> None:
    driver.produce("signals", {"kind": "answer", "task": "t", "value": value})
    driver.run(until_ms=driver.now_ms + 1000)


def test_a_rejection_ends_it_without_a_mail() -> None:
    driver = asked(REQUEST)
    answered(driver, "Discard it")
    assert driver.result().result == {"reason": "The author discarded the draft."}
    assert driver.records("tool-calls")[-1].route == "document_search"


def test_an_author_who_does_not_answer_within_two_days_gets_a_clear_result() -> None:
    driver = asked(REQUEST)
    driver.run()
    assert driver.result().result == {"reason": "The author did not answer within 2 days."}
    assert driver.records("tool-calls")[-1].route == "document_search"


def test_each_note_makes_a_new_draft_and_all_of_them_count() -> None:
    driver = asked(REQUEST)
    answered(driver, "friendlier")
    answered(driver, "sign it as Kim")
    answered(driver, "in French")
    text = question(driver).text
    assert "Hi Dana," in text
    assert "Best wishes\nKim" in text
    assert "[I did not understand “in French”." in text


def test_after_many_notes_it_ends() -> None:
    driver = asked(REQUEST)
    for _ in range(NOTES_MAX + 1):
        answered(driver, "shorter")
    assert driver.result().result == {"reason": f"After {NOTES_MAX} notes the draft was still not right."}


def test_who_gets_the_mail_is_asked_if_it_was_not_said() -> None:
    driver = asked("write a mail about parental leave")
    assert question(driver).text == "Please tell me to which address to write."
    answered(driver, "kim@example.com")
    assert question(driver).text.startswith("Shall I send this to kim@example.com?")


def test_who_never_says_it_gets_a_clear_result() -> None:
    driver = asked("write a mail about parental leave")
    driver.run()
    assert driver.result().result == {"reason": "I still don't know to which address to write."}


@pytest.mark.parametrize("about", ["sabbaticals in Peru", "the price of bananas"])
def test_what_the_documents_do_not_say_is_not_sent(about: str) -> None:
    driver = asked(f"tell dana@example.com about {about}")
    assert driver.result().result == {"reason": f"The documents say nothing about this: {about}."}
    assert driver.records("questions") == []


def test_a_quote_that_stands_nowhere_is_refused() -> None:
    passage = Passage(document="a.md", title="A", heading="", text="Desks are shared.")
    quoted.function(Summary(points=[Point(text="x", quote="Desks  are\nshared", document="a.md")]), [passage])
    for quote, document in (("Desks are free", "a.md"), ("Desks are shared", "b.md")):
        with pytest.raises(OutputRejected, match="No passage of"):
            quoted.function(Summary(points=[Point(text="x", quote=quote, document=document)]), [passage])
