"""Be a customer, in a terminal: `python -m examples.support.chat --customer ben@example.com`.

What a shop's own chat would do: the first message starts a task, each other is a signal to it, and what the
task says is read from the conversation.
"""

import asyncio
import contextlib

import click
import httpx

from segue import Client

from .addresses import CHAT_URL

POLL_S = 0.5


async def talk(customer: str) -> None:
    async with Client() as client:
        print("What can we do for you? (Ctrl-D leaves)")
        case = {"customer": customer, "message": await _typed()}
        task = await client.start("support", case)
        showing = asyncio.create_task(_show(task))
        try:
            while True:
                await client.signal(task, "message", await _typed())
        finally:
            showing.cancel()


async def _show(task: str) -> None:
    seen = 0
    async with httpx.AsyncClient(base_url=CHAT_URL) as http:
        while True:
            answer = await http.get(f"/conversations/{task}", params={"after": seen})
            for message in answer.raise_for_status().json():
                seen = message["id"]
                if message["who"] != "customer":
                    print(f"  {message['who']}: {message['text']}")
            await asyncio.sleep(POLL_S)


async def _typed() -> str:
    while not (text := (await asyncio.to_thread(input)).strip()):
        pass
    return text


@click.command(help="Talk to the support of the example's shop.")
@click.option("--customer", default="ana@example.com", show_default=True)
def main(customer: str) -> None:
    with contextlib.suppress(EOFError, KeyboardInterrupt):
        asyncio.run(talk(customer))


if __name__ == "__main__":
    main()
