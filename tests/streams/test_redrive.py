"""Records that are sent again: known by where they stood first, so that nothing grows with each replay."""

import random

import pytest
from pydantic_core import to_json

from segue import App, Task, workflow
from segue.processors.stages.put_aside import put_aside
from segue.streams.client.dead_letters import Newest, NewestOfEach, was_told
from segue.streams.client.redrive import Copy, Once, again, back_to_its_topic
from segue.topics.flow import Received, dead_letter
from segue.topics.records import PutAside, StepFailed
from tests.driver import Driver


@workflow
async def waits(task: Task) -> list[str]:
    answer = await task.ask("ada", "Which?", options={"a": "a", "b": "b"})
    return [answer, await task.signal("go", str), await task.signal("go", str)]


@workflow
async def listens(task: Task) -> None:
    await task.signal("begin")
    await task.signal("count", int)


APP = App("again", workflows=[waits, listens])


def once_each(records: list[Received]) -> list[Received]:
    return list(filter(Once(), records))


def newest_of_each(letters: list[Received]) -> list[Received]:
    newest = NewestOfEach()
    for each in letters:
        newest.add(each)
    return [each for each in letters if each in newest]


def send(driver: Driver, copies: list[Copy]) -> None:
    for copy in copies:
        driver.put(copy.topic, copy.key, copy.value, copy.headers)
    driver.run()


def replay_letters(driver: Driver) -> int:
    """As `segue dead-letters redrive --all` does; how many it sent."""
    letters = [each for each in newest_of_each(driver.logs["dead-letters"]) if not was_told(each)]
    send(driver, [back_to_its_topic(each) for each in letters])
    return len(letters)


def replay_topic(driver: Driver, topic: str) -> int:
    found = once_each(driver.logs[topic])
    send(driver, [again(each) for each in found])
    return len(found)


def test_replaying_letters_that_fail_again_sends_as_many_each_time() -> None:
    driver = Driver(APP)
    for number in range(10):
        driver.submit("gone", task=f"t{number}")
    driver.produce("signals", {"kind": "cancel", "task": "nobody"})
    driver.produce("signals", b"no record")
    driver.run()
    assert [replay_letters(driver) for _ in range(4)] == [12] * 4
    assert len(newest_of_each(driver.logs["dead-letters"])) == 12


def test_a_letter_that_a_later_stage_writes_stands_for_the_one_of_an_earlier_stage() -> None:
    """The answer was no record for an old worker, and is too late for the new one."""
    driver = Driver(APP)
    driver.produce("signals", {"kind": "answer", "task": "t", "value": "a", "extra": 1})
    driver.submit("waits")
    driver.run()
    [letter] = driver.logs["dead-letters"]
    mended = letter._replace(value=b'{"kind":"answer","task":"t","value":"c"}')
    driver.logs["dead-letters"][0] = mended
    assert [replay_letters(driver) for _ in range(3)] == [1, 1, 1]
    assert driver.reasons()[1:] == ["'c' is none of the options: a, b"] * 3


def test_a_signal_without_an_id_that_is_sent_again_is_the_same_signal() -> None:
    driver = Driver(APP)
    driver.submit("waits")
    driver.run()
    driver.produce("signals", {"kind": "answer", "task": "t", "value": "b"})
    driver.produce("signals", {"kind": "signal", "task": "t", "name": "go", "value": "once"})
    driver.run()
    assert [replay_topic(driver, "signals") for _ in range(3)] == [2, 2, 2]
    driver.produce("signals", {"kind": "signal", "task": "t", "name": "go", "value": "twice"})
    driver.run()
    assert driver.result().result == ["b", "once", "twice"]
    assert driver.reasons() == []


def test_a_copy_of_a_signal_that_a_task_took_before_it_ended_is_no_dead_letter() -> None:
    driver = Driver(APP)
    driver.submit("listens")
    driver.run()
    driver.produce("signals", {"kind": "signal", "task": "t", "name": "count", "value": "many"})
    driver.produce("signals", {"kind": "signal", "task": "t", "name": "begin"})
    driver.produce("signals", {"kind": "signal", "task": "t", "name": "count", "value": 3})
    driver.run()
    refused = driver.reasons()
    assert (driver.result().outcome, len(refused)) == ("succeeded", 1)
    driver.restart()
    replay_topic(driver, "signals")
    assert driver.reasons() == refused, "the task had heard all three"
    driver.produce("signals", {"kind": "signal", "task": "t", "name": "count", "value": 4})
    driver.run()
    assert driver.reasons() == [*refused, "task 't' has ended"]


@pytest.mark.parametrize("origin", [b"tasks/0/1", b"signals/0", b"signals/0/" + b"9" * 5000, b"\xff/0/1"])
def test_an_origin_that_is_none_counts_for_nothing(origin: bytes) -> None:
    driver = Driver(APP)
    driver.submit("waits")
    driver.run()
    driver.put("signals", b"t", b'{"kind":"cancel","task":"t"}', (("segue-origin", origin),))
    driver.run()
    [*_, event] = driver.records("events")
    assert event.id == "signals/0/0"
    assert driver.result().outcome == "cancelled"


def copy_of(record: Received) -> Received:
    copy = again(record)
    return record._replace(offset=record.offset + 100, headers=copy.headers)


def test_a_copy_of_a_copy_names_the_first_place() -> None:
    record = Received("tasks", 3, 7, b"t", b"{}", (), 0)
    second = copy_of(copy_of(record))
    assert dict(second.headers) == {"segue-origin": b"tasks/3/7", "segue-replayed-from": b"tasks/3/107"}
    assert once_each([record, copy_of(record), second]) == [record]


def place(partition: int, offset: int, origin: str | None = None) -> Received:
    headers = (("segue-origin", origin.encode()),) if origin else ()
    return Received("tasks", partition, offset, b"t", b"{}", headers, 0)


def test_copies_are_left_out_without_remembering_the_records() -> None:
    once = Once()
    assert all(once(place(0, offset)) for offset in range(5, 105))
    assert [once(place(0, 105, f"tasks/0/{first}")) for first in (5, 50, 104)] == [False] * 3
    assert not once(place(1, 0, "tasks/0/7"))


def test_of_copies_whose_record_is_not_in_the_range_the_first_is_sent() -> None:
    records = [place(0, 10), place(0, 11, "tasks/0/3"), place(0, 12, "tasks/0/3"), place(1, 4, "tasks/2/0")]
    assert once_each(records) == [records[0], records[1], records[3]]


def test_a_copy_that_stands_where_a_record_stood_before_the_topic_was_made_anew_is_sent() -> None:
    records = [place(0, 0, "tasks/0/3"), place(0, 1, "tasks/0/0"), place(0, 2), place(0, 3, "tasks/0/1")]
    assert once_each(records) == records


def test_a_copy_that_is_read_before_its_record_of_another_partition_stands_for_it() -> None:
    copy, first = place(1, 4, "tasks/0/9"), place(0, 9)
    assert once_each([place(0, 8), copy, first, place(0, 10)]) == [place(0, 8), copy, place(0, 10)]


def letter(record: int, at_ms: int, offset: int) -> Received:
    """Of one of the records of `tasks`, which may have failed again and again."""
    why = dead_letter(place(0, record), "intake", "why", at_ms)
    return Received("dead-letters", 0, offset, b"t", b"x" * 100, why.headers, at_ms)


def test_the_newest_letters_are_held_and_the_others_counted() -> None:
    drawn = random.Random(7)
    letters = [letter(drawn.randrange(40), at_ms, at_ms) for at_ms in range(300)]
    for most in (1, 7, 100):
        newest = Newest(most)
        for number, each in enumerate(letters):
            newest.add(each)
            assert len(newest.letters) <= min(most, number + 1)
        expected = sorted(newest_of_each(letters), key=lambda each: -each.timestamp_ms)
        assert newest.letters == expected[:most]
        assert len(newest.among) == len(expected)


def test_letters_of_which_only_the_reason_is_shown_are_held_without_their_bytes() -> None:
    newest = Newest(1)
    newest.add(letter(0, 0, 0), whole=False)
    assert [each.value for each in newest.letters] == [b""]


@pytest.mark.parametrize(("version", "told"), [(1, True), (99, False)])
def test_a_call_whose_step_was_failed_is_not_sent_again_and_one_that_is_waited_for_is(
    version: int, told: bool
) -> None:
    call = {"v": version, "kind": "call_tool", "task": "t", "step": 0, "fingerprint": "x", "route": "r"}
    record = Received("tool-calls", 0, 7, b"t", to_json(call), (), 1)
    letter, event = put_aside(record, "tool", "it can't be read", 2).publish
    assert isinstance(event.value, StepFailed if told else PutAside)
    kept = Received("dead-letters", 0, 0, b"t", record.value, letter.headers, 2)
    assert was_told(kept) == told
    assert back_to_its_topic(kept).value == record.value
