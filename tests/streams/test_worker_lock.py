"""Workers' names, and what a worker knows of those beside it."""

import json
from collections.abc import Callable, Generator
from pathlib import Path
from typing import Any

import pytest

from segue import App, BadInput
from segue.streams.local.development import development
from segue.streams.process.worker_lock import WorkerLock
from segue.streams.settings import Settings


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(kafka="127.0.0.1:9", state_dir=tmp_path)


Take = Callable[..., WorkerLock]


@pytest.fixture
def take(settings: Settings) -> Generator[Take]:
    """The lock of a worker of that app; freed at the end of the test."""
    taken: list[WorkerLock] = []

    def take(app: str, **changes: Any) -> WorkerLock:
        taken.append(WorkerLock(settings.model_copy(update=changes), app))
        return taken[-1]

    yield take
    for lock in taken:
        lock.free()


def test_workers_of_one_app_take_names_of_their_own_and_are_told_nothing(take: Take) -> None:
    locks = [take("travel") for _ in range(3)]
    assert len({lock.name for lock in locks}) == 3
    assert [lock.intruded() for lock in locks] == [None] * 3


def test_a_worker_of_another_app_on_the_same_topics_is_told_by_both(take: Take) -> None:
    travel, support = take("travel"), take("support desk")
    assert support.intruded() == (
        "app 'travel' works on these topics already, and each would reject the tasks of the other: "
        "stop that, or give 'support desk' topics of its own, SEGUE_TOPIC_PREFIX=support-desk-"
    )
    assert "app 'support desk' works" in (travel.intruded() or "")


@pytest.mark.parametrize("elsewhere", [{"topic_prefix": "mine-"}, {"kafka": "127.0.0.1:10"}])
def test_who_works_on_other_topics_is_not_in_the_way(take: Take, elsewhere: dict[str, str]) -> None:
    take("travel", **elsewhere)
    assert take("support").intruded() is None


def test_who_has_ended_however_is_not_in_the_way(settings: Settings, take: Take) -> None:
    take("travel", worker_id="stopped").free()
    killed = settings.state_dir / "killed" / "lock"
    killed.parent.mkdir()
    killed.write_text(json.dumps({"app": "travel", "kafka": settings.bootstrap, "prefix": ""}))
    assert take("support").intruded() is None


def test_a_lock_of_something_else_says_nothing(settings: Settings, take: Take) -> None:
    for name, text in {"broker": "", "older": "4711", "other": "{}", "odd": "[]"}.items():
        (settings.state_dir / name).mkdir()
        (settings.state_dir / name / "lock").write_text(text)
    assert take("support").intruded() is None


def test_a_name_that_changes_hands_says_who_has_it_now(settings: Settings, take: Take) -> None:
    take("a-long-name-of-an-app", worker_id="one").free()
    take("travel", worker_id="one")
    assert json.loads((settings.state_dir / "one" / "lock").read_text())["app"] == "travel"
    with pytest.raises(BadInput, match="a worker 'one' already runs here"):
        take("travel", worker_id="one")


async def test_dev_of_another_app_starts_nothing(settings: Settings, take: Take) -> None:
    """Before a broker is asked for: there is none here."""
    travel = take("travel")
    with pytest.raises(BadInput, match="app 'travel' works on these topics already"):
        async with development(App("support", workflows=[]), settings):
            pass
    assert travel.intruded() is None  # the name that it had taken is free again
