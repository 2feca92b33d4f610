"""Which workflow `segue dev` runs, and with what."""

import pytest

from segue import App, Task, workflow
from streams.cli.dev import sample_of
from topics.errors import BadInput


@workflow
async def one(task: Task, text: str) -> str:
    return text


@workflow
async def other(task: Task, text: str) -> str:
    return text


def test_the_app_s_only_workflow_needs_no_name() -> None:
    assert sample_of(App("a", workflows=[one]), None, "hello") == ("one", "hello")


@pytest.mark.parametrize(("workflows", "told"), [([one, other], "one, other"), ([], "the app has none")])
def test_where_there_is_a_choice_it_is_asked_for(workflows: list[object], told: str) -> None:
    with pytest.raises(BadInput, match=f"which workflow.*: {told}"):
        sample_of(App("a", workflows=workflows), None, "hello")  # type: ignore[arg-type]


def test_a_name_decides_also_beside_a_sample() -> None:
    app = App("a", workflows=[one, other], sample=(one, "from the app"))
    assert sample_of(app, "other", "7") == ("other", 7)
    assert sample_of(app, None, None) == ("one", "from the app")
    assert sample_of(app, None, "mine") == ("one", "mine")
