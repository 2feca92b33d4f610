"""Be a customer, in a terminal: `python -m examples.support.chat --customer ben@example.com`.

What a shop's own chat would do: the first message starts a task, each other is a signal to it, and what the
task says is read from the conversation. Messages may come from a pipe too: each is answered before it leaves.
"""

import asyncio
import contextlib
import threading
from collections.abc import AsyncIterator
from dataclasses import dataclass

import click
import httpx

from segue import BadInput, Client, Result, SegueError

from .addresses import CHAT_URL

POLL_S = 0.5


@dataclass
class Conversation:
    """As the customer sees it."""

    task: str
    sent: int = 1
    heard: int = 0
    answered: bool = False
    """All that was sent has been heard, and something was said to it."""
    seen: int = 0

    async def show(self, http: httpx.AsyncClient) -> None:
        """What is new, but for the customer's own words."""
        answer = await http.get(f"/conversations/{self.task}", params={"after": self.seen})
        for message in answer.raise_for_status().json():
            self.seen = message["id"]
            own = message["who"] == "customer"
            self.heard += own
            self.answered = self.heard == self.sent and not own
            if not own:
                print(f"  {message['who']}: {message['text']}", flush=True)


async def talk(customer: str) -> None:
    print("What can we do for you? (Ctrl-D leaves)", flush=True)
    typed = _typed()
    first = await anext(typed, None)
    if first is None:
        return
    async with Client() as client, httpx.AsyncClient(base_url=CHAT_URL) as http:
        conversation = Conversation(await client.start("support", {"customer": customer, "message": first}))
        ended = asyncio.create_task(client.result(conversation.task))
        sending = asyncio.create_task(_send(client, conversation, typed))
        try:
            while not (ended.done() or (_is_done(sending) and conversation.answered)):
                await conversation.show(http)
                await asyncio.sleep(POLL_S)
            await conversation.show(http)
        finally:
            sending.cancel()
            left = ended.cancel()
        print(_goodbye(conversation.task, None if left else ended.result()))


async def _send(client: Client, conversation: Conversation, typed: AsyncIterator[str]) -> None:
    async for text in typed:
        conversation.sent += 1
        conversation.answered = False
        try:
            await client.signal(conversation.task, "message", text)
        except BadInput:  # it ended meanwhile, which is told by its result
            return
    if not conversation.answered:
        print("(waiting for the answer; Ctrl-C leaves at once)", flush=True)


def _is_done(sending: asyncio.Task[None]) -> bool:
    """Raises what kept the messages from being sent."""
    return sending.done() and sending.result() is None


def _goodbye(task: str, result: Result | None) -> str:
    if result is None:
        return f"(the conversation stays open: segue show {task})"
    how = result.result["how"] if result.problem is None else result.problem.message
    return f"(the conversation is over: {how})"


async def _typed() -> AsyncIterator[str]:
    """Line by line, from a terminal, pipe or file. The thread may wait for the next one when nobody cares."""
    lines: asyncio.Queue[str | None] = asyncio.Queue()
    loop = asyncio.get_running_loop()
    threading.Thread(target=_read, args=(loop, lines), daemon=True).start()
    while (line := await lines.get()) is not None:
        if text := line.strip():
            yield text


def _read(loop: asyncio.AbstractEventLoop, lines: asyncio.Queue[str | None]) -> None:
    """Not by `sys.stdin`, which Python would wait for at its end."""
    with (
        open(0, errors="replace", closefd=False) as stdin,
        contextlib.suppress(RuntimeError),
    ):  # the loop may be closed
        for line in stdin:
            loop.call_soon_threadsafe(lines.put_nowait, line)
        loop.call_soon_threadsafe(lines.put_nowait, None)


@click.command(help="Talk to the support of the example's shop.")
@click.option("--customer", default="ana@example.com", show_default=True)
def main(customer: str) -> None:
    try:
        asyncio.run(talk(customer))
    except KeyboardInterrupt:
        print()
    except httpx.HTTPError:
        raise click.ClickException(
            f"no chat answers at {CHAT_URL}: run `segue dev examples/support` in another terminal"
        ) from None
    except SegueError as error:
        raise click.ClickException(str(error)) from None


if __name__ == "__main__":
    main()
