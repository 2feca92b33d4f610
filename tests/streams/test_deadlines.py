"""Calls that take too long are cancelled, and only those; others may cancel them as well."""

import asyncio

import pytest

from segue.streams.calls.timeouts import Deadlines


async def slow(seconds: float) -> str:
    await asyncio.sleep(seconds)
    return "answered"


def late(deadlines: Deadlines, timeout_s: float, seconds: float) -> asyncio.Task[str]:
    return asyncio.create_task(deadlines.within(timeout_s, slow(seconds)))


async def test_a_call_that_answers_in_time_is_left_alone() -> None:
    assert await Deadlines().within(1, slow(0)) == "answered"


async def test_each_call_has_its_own_deadline() -> None:
    deadlines = Deadlines()
    calls = [late(deadlines, 0.05, 60), late(deadlines, 0.05, 0), late(deadlines, 30, 0.1)]
    first, *others = await asyncio.gather(*calls, return_exceptions=True)
    assert str(first) == "no answer within 0.05 s"
    assert others == ["answered", "answered"]


async def test_a_call_that_began_behind_one_that_answered_still_ends() -> None:
    deadlines = Deadlines()
    assert await deadlines.within(0.05, slow(0)) == "answered"
    await asyncio.sleep(0.02)
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(late(deadlines, 0.05, 60), 10)


async def test_a_call_that_begins_when_none_is_left_still_ends() -> None:
    deadlines = Deadlines()
    await deadlines.within(0.01, slow(0))
    await asyncio.sleep(0.05)
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(late(deadlines, 0.01, 60), 10)


async def test_a_time_out_of_the_call_itself_keeps_its_words() -> None:
    async def gives_up() -> None:
        raise TimeoutError("the service said so")

    with pytest.raises(TimeoutError, match="the service said so"):
        await Deadlines().within(1, gives_up())


async def test_who_is_cancelled_by_others_is_cancelled() -> None:
    call = late(Deadlines(), 30, 60)
    await asyncio.sleep(0)
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call


async def test_a_call_that_ignores_its_cancellation_is_asked_once() -> None:
    async def stubborn() -> str:
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            await asyncio.sleep(0.1)
        return "answered all the same"

    async def twice() -> str:
        answer: str = await Deadlines().within(0.02, stubborn())
        await asyncio.sleep(0)
        return answer

    assert await twice() == "answered all the same"


async def test_time_outs_within_each_other() -> None:
    deadlines = Deadlines()

    async def outer() -> str:
        with pytest.raises(TimeoutError, match=r"0\.02"):
            await deadlines.within(0.02, slow(60))
        return "went on"

    assert await deadlines.within(30, outer()) == "went on"
