"""All that can fail with a secret in its hands: tools, a model, an MCP server, a check, a workflow."""

import logging
import os
import sys

import httpx

from segue import App, McpServer, ModelRoute, OutputRejected, Policy, Task, ToolRoute, check, tool, workflow

SECRET = os.environ["MARKER_TOKEN"]
ONCE = Policy(retries=0, max_reprompts=0)


@tool(retries=0)
async def talks() -> None:
    """What other libraries log comes to the worker's log too."""
    logging.getLogger().setLevel(logging.DEBUG)
    logging.getLogger("elsewhere").debug("calling with %s", SECRET)
    raise RuntimeError(f"no connection with {SECRET}")


@tool(retries=0)
async def calls_in_url() -> None:
    async with httpx.AsyncClient(trust_env=False) as client:
        at = os.environ["REFUSING"].replace("//", f"//user:{os.environ['PLAIN_WORD']}@")
        (await client.get(at, params={"api_key": os.environ["PLAIN_WORD"]})).raise_for_status()


@tool(retries=0)
async def calls_nobody() -> None:
    async with httpx.AsyncClient(trust_env=False, headers={"Authorization": f"Bearer {SECRET}"}) as client:
        await client.get(f"http://127.0.0.1:1/?token={SECRET}")


@check
def refuses(output: str) -> None:
    raise OutputRejected(f"not {SECRET}")


@tool(retries=0)
async def fine() -> str:
    return "fine"


dies = "import os, sys; sys.stderr.write('x' * 290 + os.environ['MCP_PASSWORD'] + chr(10)); sys.exit(1)"
server = McpServer(
    "server", command=(sys.executable, "-c", dies), env={"MCP_PASSWORD": os.environ["MCP_MARKER"]}
)
away = McpServer("away", url=os.environ["REFUSING"], headers={"X-Api-Key": os.environ["MCP_MARKER"]})
of_server: ToolRoute[object] = ToolRoute(
    "of_server", [server.tool("search"), away.tool("search")], policy=ONCE
)
model = ModelRoute("model", ["openai-chat:gpt-of-the-test"], policy=ONCE)


@workflow
async def leaks(task: Task) -> None:
    steps = [task.tool(each) for each in (talks, calls_in_url, calls_nobody)]
    await task.gather(*steps, task.tool(of_server), task.model(model, "hello"), failures="return")
    raise RuntimeError("all failed")


app = App(
    "secrets",
    workflows=[leaks],
    tools=[talks, calls_in_url, calls_nobody, fine],
    routes=[of_server, model],
    checks=[refuses],
)
