"""An MCP server that looks into the shop, and changes nothing: `python -m examples.goal.shop_server`."""

from datetime import time
from typing import Annotated

import httpx
from mcp.server.mcpserver import MCPServer
from mcp.server.mcpserver.exceptions import ToolError
from pydantic import Field

from .addresses import SHOP_URL
from .models import Changes, Health, LogExcerpt, Services

server = MCPServer("shop", instructions="Looks into a shop's services. It is 14:00.", log_level="WARNING")
Service = Annotated[str, Field(description="As `services` names it")]


@server.tool()
async def services() -> Services:
    """All services, and which others each of them calls."""
    return Services.model_validate_json(await _get("/services"))


@server.tool()
async def health(service: Service) -> Health:
    """The share of a service's requests that failed in the last minute."""
    return Health.model_validate_json(await _get(f"/services/{service}/health"))


@server.tool()
async def search_log(service: Service, start: time, end: time) -> LogExcerpt:
    """How many requests and errors a service logged between two times of today, and some of the errors."""
    between = {"start": start.isoformat(), "end": end.isoformat()}
    return LogExcerpt.model_validate_json(await _get(f"/services/{service}/log", **between))


@server.tool()
async def changes(since: time, until: time) -> Changes:
    """Deploys, flags and configuration that were changed between two times of today, in any service."""
    between = {"since": since.isoformat(), "until": until.isoformat()}
    return Changes.model_validate_json(await _get("/changes", **between))


async def _get(path: str, **query: str) -> bytes:
    async with httpx.AsyncClient(base_url=SHOP_URL, trust_env=False) as client:
        response = await client.get(path, params=query)
    if response.is_client_error:  # the model's mistake, not the shop's
        raise ToolError(response.json()["detail"])
    return response.raise_for_status().content


if __name__ == "__main__":
    server.run("stdio")
