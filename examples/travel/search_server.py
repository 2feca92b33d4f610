"""An MCP server with one tool, the hotel search, on stdio: `python -m examples.travel.search_server`."""

from datetime import date
from typing import Annotated

from mcp.server.mcpserver import MCPServer
from pydantic import Field

from . import hotels
from .models import Hotels

server = MCPServer("hotels", instructions="Finds hotels with what their guests wrote about them.")


@server.tool()
def search_hotels(
    place: Annotated[str, Field(description="Town, region or country")],
    check_in: date,
    check_out: date,
    latitude: Annotated[float | None, Field(description="Leave out for a whole region or country")] = None,
    longitude: float | None = None,
    near_km: Annotated[float, Field(gt=0, le=500)] = 20.0,
    beach: Annotated[bool, Field(description="Only hotels within 800 m of a beach")] = False,
    price_max: Annotated[float | None, Field(description="For one night, in EUR")] = None,
    guests: Annotated[int, Field(ge=1)] = 2,
    limit: Annotated[int, Field(ge=1, le=100)] = 40,
) -> Hotels:
    """Hotels near a place that are open on these dates, the nearest first, with their guests' reviews."""
    found = hotels.search(
        place=place,
        check_in=check_in,
        check_out=check_out,
        latitude=latitude,
        longitude=longitude,
        near_km=near_km,
        beach=beach,
        price_max=price_max,
        guests=guests,
        limit=limit,
    )
    return Hotels(hotels=found)


if __name__ == "__main__":
    server.run("stdio")
