"""The catalogue and its search, by the function and by the MCP server as a process."""

import sys
from datetime import date
from pathlib import Path
from typing import Any

from mcp import Client
from mcp.client.stdio import StdioServerParameters, get_default_environment

from examples.travel import hotels
from examples.travel.models import Hotel, Hotels

ROOT = Path(__file__).parents[2]
OCTOBER: dict[str, Any] = {"check_in": date(2027, 10, 1), "check_out": date(2027, 10, 8)}


def found(place: str, **criteria: Any) -> list[Hotel]:
    return hotels.search(place, **{**OCTOBER, **criteria})


def test_the_catalogue_is_large_and_its_ids_are_unique() -> None:
    every = hotels.every_hotel()
    assert len({hotel.id for hotel in every}) == len(every) >= 200
    assert all(3 <= len(hotel.reviews) <= 8 for hotel in every)


def test_a_search_keeps_to_its_criteria() -> None:
    lisbon = found("Lisbon", latitude=38.7136, longitude=-9.1395, near_km=50, beach=True, price_max=200)
    assert len(lisbon) >= 20
    assert all(h.price <= 200 and h.beach_m is not None and h.beach_m <= 800 for h in lisbon)
    assert [h.distance_km for h in lisbon] == sorted(h.distance_km or 0 for h in lisbon)


def test_a_place_without_coordinates_goes_by_its_name_in_any_case_and_without_accents() -> None:
    assert {h.town for h in found("SETUBAL", near_km=5)} == {"Setúbal"}
    assert {h.country for h in found("greece", limit=100)} == {"Greece"}
    assert {h.town for h in found("mallorca")} == {"Palma", "Port de Sóller"}


def test_a_hotel_that_is_closed_then_or_too_small_is_not_found() -> None:
    winter = {"check_in": date(2027, 1, 10), "check_out": date(2027, 1, 12)}
    assert found("Elounda", **winter) == []
    assert all(h.sleeps >= 5 for h in found("Porto", guests=5))


def test_an_unknown_place_has_no_hotels() -> None:
    assert found("Atlantis") == []


async def test_the_mcp_server_finds_what_the_function_finds() -> None:
    server = StdioServerParameters(
        command=sys.executable,
        args=["-m", "examples.travel.search_server"],
        env=get_default_environment() | {"PYTHONPATH": str(ROOT)},
        cwd=ROOT,
    )
    arguments = {"place": "Cascais", "check_in": "2027-10-01", "check_out": "2027-10-08", "beach": True}
    async with Client(server) as client:
        assert [tool.name for tool in (await client.list_tools()).tools] == ["search_hotels"]
        result = await client.call_tool("search_hotels", arguments)
        refused = await client.call_tool("search_hotels", {"place": "Cascais", "check_in": "soon"})
    assert Hotels.model_validate(result.structured_content).hotels == found("Cascais", beach=True)
    assert refused.is_error
