"""The search of a folder, by the function and by the MCP server as a process."""

import sys
from pathlib import Path

import pytest
from mcp import Client
from mcp.client.stdio import StdioServerParameters, get_default_environment

from examples.documents.library import search
from examples.documents.models import Passages

ROOT = Path(__file__).parents[2]


def test_words_are_found_by_their_stems_and_the_best_passage_is_first(tmp_path: Path) -> None:
    (tmp_path / "below").mkdir()
    (tmp_path / "below" / "boats.md").write_text(
        "# Boats\n\n## Mooring\n\nBoats are moored\nat the quay.\n\nNo fires."
    )
    (tmp_path / "other.txt").write_text("Fires\n\nA boat may burn. Call us.")
    (tmp_path / "photo.jpg").write_bytes(b"boats")
    (tmp_path / "rules.txt").write_text("Rules\n\n" + "\n\n".join(f"Rule {n}." for n in range(9)))
    found = search("mooring a boat", folder=tmp_path)
    assert [(p.document, p.title, p.heading, p.text) for p in found[:1]] == [
        ("below/boats.md", "Boats", "Mooring", "Boats are moored at the quay.")
    ]
    assert {p.document for p in found} == {"below/boats.md", "other.txt"}


@pytest.mark.parametrize("query", ["", "what is the", '"', "NEAR( *", "xyzzy"])
def test_a_query_without_words_that_stand_there_finds_nothing(query: str) -> None:
    assert search(query) == []


def test_a_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(NotADirectoryError, match="DOCUMENTS_FOLDER says where"):
        search("boats", folder=tmp_path / "gone")


async def test_the_mcp_server_finds_what_the_function_finds() -> None:
    server = StdioServerParameters(
        command=sys.executable,
        args=["-m", "examples.documents.search_server"],
        env=get_default_environment() | {"PYTHONPATH": str(ROOT)},
        cwd=ROOT,
    )
    async with Client(server) as client:
        assert [tool.name for tool in (await client.list_tools()).tools] == ["search_documents"]
        result = await client.call_tool("search_documents", {"query": "hotels on trips", "limit": 3})
    assert Passages.model_validate(result.structured_content).passages == search("hotels on trips", 3)
