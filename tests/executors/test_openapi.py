"""Operations of a real HTTP service, by its own document and by one on disk."""

import asyncio
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from segue.processors.app.app import App
from segue.processors.routing.openapi import OpenApi
from segue.processors.routing.policy import Policy
from segue.processors.routing.routes import ToolRoute
from segue.processors.stages.reply import Reply
from segue.streams.calls.failures import problem_of
from segue.streams.executors import ToolExecutor
from segue.topics.errors import BadInput
from segue.topics.records import Problem
from tests.executors.calls import call_tool
from tests.executors.servers.store import PET, Store, store

PETSTORE = str(Path(__file__).parent / "documents" / "petstore.yaml")
SECRETS = {
    "api_key": "STORE_WORD",
    "store_auth": "STORE_TICKET",
    "basic": "STORE_LOGIN",
    "in_query": "STORE_WORD",
}


@pytest_asyncio.fixture
async def there(monkeypatch: pytest.MonkeyPatch) -> AsyncGenerator[Store]:
    monkeypatch.setenv("STORE_WORD", "m4rk-of-the-store")
    monkeypatch.setenv("STORE_TICKET", "m4rk-of-a-ticket")
    monkeypatch.setenv("STORE_LOGIN", "ada:m4rk-of-ada")
    async with store() as running:
        yield running


def petstore(there: Store) -> OpenApi:
    return OpenApi(PETSTORE, server=f"{there.url}/v3", secrets=SECRETS)


def served(there: Store, **more: Any) -> OpenApi:
    return OpenApi(f"{there.url}/openapi.json", name="store", secrets=SECRETS, **more)


async def call(api: OpenApi, operation: str, arguments: dict[str, Any] | None = None) -> Any:
    executor = ToolExecutor(App("a", workflows=[], routes=[ToolRoute("do", [api.tool(operation)])]))
    try:
        async with asyncio.timeout(20):
            return (await executor(call_tool("do", arguments))).result
    finally:
        await executor.stop()


async def problem(api: OpenApi, operation: str, arguments: dict[str, Any] | None = None) -> Problem:
    with pytest.raises(Exception) as failure:  # noqa: PT011 - what it means is compared by the test
        await call(api, operation, arguments)
    return problem_of(failure.value)


def permanent(message: str) -> Problem:
    return Problem(type="Permanent", message=message, retryable=False)


# ---------------------------------------------------------------- requests


async def test_an_operation_is_a_tool_of_its_own_with_its_own_policy(there: Store) -> None:
    tool = petstore(there).tool("getPetById", policy=Policy(retries=7))
    app = App("a", workflows=[], tools=[tool])
    assert app.tool_route("petstore.getPetById").policy.retries == 7
    executor = ToolExecutor(app)
    assert await executor(call_tool("petstore.getPetById", {"petId": 1})) == Reply(PET, "petstore.getPetById")
    await executor.stop()


async def test_parameters_go_where_the_document_says(there: Store) -> None:
    arguments = {
        "tags": ["a b", "c&d"],
        "near": {"lat": 1.5, "lon": -2},
        "ages": [1, 2],
        "X_Request_Id": "r-1",
        "session": "s-1",
    }
    assert await call(petstore(there), "findPetsByTags", arguments) == [PET]
    (asked,) = there.asked
    assert (asked["method"], asked["path"]) == ("GET", "/v3/pet/findByTags")
    assert asked["query"] == [
        ("tags", "a b"),
        ("tags", "c&d"),
        ("near[lat]", "1.5"),
        ("near[lon]", "-2"),
        ("ages", "1,2"),
    ]
    assert (asked["headers"]["x-request-id"], asked["headers"]["cookie"]) == ("r-1", "session=s-1")


async def test_a_body_is_json_and_bears_the_idempotency_key(there: Store) -> None:
    assert await call(petstore(there), "addPet", {"body": {"name": "Réx", "owner": None}}) == PET
    (asked,) = there.asked
    assert asked["body"] == '{"name": "Réx", "owner": null}'
    assert asked["headers"]["content-type"] == "application/json"
    assert asked["headers"]["idempotency-key"] == "t1/3"


async def test_only_what_is_not_idempotent_by_itself_bears_a_key(there: Store) -> None:
    await call(petstore(there), "getPetById", {"petId": 1})
    assert await call(petstore(there), "deletePet", {"petId": 1}) is None
    assert [asked["headers"].get("idempotency-key") for asked in there.asked] == [None, None]


async def test_an_operation_without_an_id_is_called_by_method_and_path(there: Store) -> None:
    assert await call(served(there), "GET /hello") == "hello"


async def test_servers_may_be_relative_to_the_document(there: Store) -> None:
    assert await call(served(there), "stock", {"place": "a/b ä"}) == {"pets": 3}
    assert there.asked[0]["path"] == "/v3/stock/a%2Fb%20%C3%A4"


async def test_a_path_can_t_be_left_by_an_argument(there: Store) -> None:
    assert (await problem(served(there), "stock", {"place": ".."})).message == (
        "store.stock: argument 'place' would make another path: '..'"
    )
    assert there.asked == []


async def test_wrong_arguments_are_all_named_and_nothing_is_sent(there: Store) -> None:
    assert await problem(petstore(there), "getPetById", {"petId": "x", "color": 1}) == permanent(
        "petstore.getPetById: it can't be called: it takes no argument 'color'; "
        "argument 'petId': 'x' is not of type 'integer'"
    )
    assert await problem(petstore(there), "addPet", {"body": {"id": 1, "owner": 3}}) == permanent(
        "petstore.addPet: it can't be called: argument 'body': 'name' is a required property; "
        "id: Tried to write read-only property with 1; owner: 3 is not of type 'string'"
    )
    assert (await problem(petstore(there), "addPet")).message.endswith("argument 'body' is missing")
    assert there.asked == []


# ---------------------------------------------------------------- responses


@pytest.mark.parametrize("pets", ["3", "-1"])
async def test_an_answer_outside_of_its_schema_is_permanent(there: Store, pets: str) -> None:
    found = await problem(served(there), "stock", {"place": "here", "as": pets})
    assert (found.retryable, found.message) == (
        False,
        "store.stock: its answer is not what the document says: "
        f"pets: '{pets}' is not of type 'integer', 'null'",
    )


async def test_the_schemas_of_3_0_are_read_as_such(there: Store) -> None:
    """A field may be null where it is nullable, and the answer must have what is only read."""
    found = await problem(petstore(there), "getPetById", {"petId": 2})
    assert found.message == (
        "petstore.getPetById: its answer is not what the document says: "
        "'name' is a required property; owner: 7 is not of type 'string'"
    )


@pytest.mark.parametrize(
    ("status", "after", "retryable", "after_s"),
    [
        (408, None, True, None),
        (425, None, True, None),
        (429, "7", True, 7.0),
        (503, "2", True, 2.0),
        (500, None, True, None),
        (400, None, False, None),
        (404, None, False, None),
        (422, "7", False, None),
        (501, None, False, None),
        (302, None, False, None),
    ],
)
async def test_a_status_says_whether_to_try_again(
    there: Store, status: int, after: str | None, retryable: bool, after_s: float | None
) -> None:
    found = await problem(served(there), "fail", {"status": status} | ({"after": after} if after else {}))
    assert (found.retryable, found.retry_after_s) == (retryable, after_s)
    assert f"HTTP {status}" in found.message
    assert "so it is" in found.message or status == 302


async def test_50_mb_are_not_read(there: Store) -> None:
    assert await problem(served(there, bytes_max=2_000_000), "large") == permanent(
        "store.large: it answered with more than 2,000,000 bytes (`bytes_max`)"
    )


async def test_what_is_neither_json_nor_text_is_permanent(there: Store) -> None:
    assert await problem(served(there), "picture") == permanent(
        "store.picture: it answered image/png: only JSON and text can be taken"
    )


async def test_no_content_is_nothing(there: Store) -> None:
    assert await call(served(there), "nothing") is None


async def test_a_service_that_is_down_is_retryable(there: Store) -> None:
    found = await problem(OpenApi(PETSTORE), "getPetById", {"petId": 1})
    assert (
        found.retryable,
        found.message.startswith("petstore.getPetById: no connection to 127.0.0.1:9: "),
    ) == (
        True,
        True,
    )


# ---------------------------------------------------------------- secrets


async def test_secrets_go_where_the_schemes_say(there: Store) -> None:
    api = petstore(there)
    await call(api, "addPet", {"body": {"name": "Rex"}})
    await call(api, "deletePet", {"petId": 1})
    await call(api, "findPetsByTags", {"tags": []})
    key, bearer, basic = (asked["headers"] for asked in there.asked)
    assert key["api_key"] == "m4rk-of-the-store"
    assert bearer["authorization"] == "Bearer m4rk-of-a-ticket"
    assert basic["authorization"] == "Basic YWRhOm00cmstb2YtYWRh"


async def test_a_secret_that_a_service_repeats_is_not_told(there: Store) -> None:
    found = await problem(served(there), "secret")
    assert there.asked[0]["query"] == [("k", "m4rk-of-the-store")]
    assert (found.retryable, "m4rk" in found.message, "[redacted]" in found.message) == (False, False, True)


async def test_a_secret_that_is_not_named_or_not_set_is_asked_for(
    there: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("STORE_TICKET")
    assert (await problem(OpenApi(PETSTORE), "addPet", {"body": {"name": "Rex"}})).message == (
        "petstore.addPet: it needs api_key, whose variable OpenApi(…, secrets=…) must name"
    )
    assert (await problem(petstore(there), "deletePet", {"petId": 1})).message == (
        "petstore.deletePet: set STORE_TICKET, the secret of its scheme 'store_auth', where tools are called"
    )
    assert there.asked == []


# ---------------------------------------------------------------- documents


async def test_a_document_is_read_again_for_an_operation_that_it_lacked(there: Store) -> None:
    api = served(there)
    executor = ToolExecutor(App("a", workflows=[], tools=[api.tool("stock"), api.tool("greet")]))
    stock = call_tool("store.stock", {"place": "here"})
    there.document["paths"] = {"/stock/{place}": there.document["paths"]["/stock/{place}"]}
    await executor(stock)
    with pytest.raises(Exception, match="no operation 'greet'; there are: stock"):
        await executor(call_tool("store.greet"))
    there.document["paths"]["/hello"] = {"get": {"operationId": "greet", "responses": {}}}
    assert (await executor(call_tool("store.greet"))).result == "hello"
    await executor.stop()


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ({"swagger": "2.0"}, "it is no OpenAPI document: it has no 'openapi' (convert Swagger 2.0 first)"),
        ({"openapi": "4.0.0"}, "OpenAPI 4.0.0 can't be read: 3.0 and 3.1 can"),
        ({"openapi": "3.1.0"}, "no operation 'x'; there are: none"),
        ("/no/such.json", "its document can't be read: /no/such.json: No such file or directory"),
        (
            {"openapi": "3.1.0", "paths": {"/x": {"get": {"operationId": "x"}}}},
            "where is the service? The document says '/': give OpenApi(…, server='https://…')",
        ),
        (
            {
                "openapi": "3.1.0",
                "paths": {"/x": {"$ref": "#/components/pathItems/a"}},
                "components": {"pathItems": {"a": {"$ref": "#/components/pathItems/a"}}},
            },
            "the reference at /paths/~1x leads back to itself",
        ),
        (
            {"openapi": "3.1.0", "paths": {"/x": {"$ref": "https://elsewhere.example/x.json"}}},
            "'https://elsewhere.example/x.json' refers to another document: bundle them into one",
        ),
    ],
)
async def test_a_document_that_can_t_be_used_says_why(source: Any, message: str) -> None:
    found = await problem(OpenApi(source, name="api"), "x")
    assert found == permanent(f"api.x: {message}")


async def test_nothing_is_fetched_for_a_schema_that_refers_elsewhere(there: Store) -> None:
    schema = {"allOf": [{"$ref": f"{there.url}/v3/schema.json"}]}
    there.document["paths"] = {
        "/stock/{place}": {
            "get": {
                "operationId": "stock",
                "parameters": [{"name": "place", "in": "path", "schema": schema}],
            }
        }
    }
    found = await problem(served(there), "stock", {"place": "here"})
    assert (found.retryable, found.message.startswith("store.stock: the schema at ")) == (False, True)
    assert there.asked == []


@pytest.mark.parametrize(
    ("source", "label"),
    [
        ("https://user@petstore.example:8443/v3/openapi.json", "petstore.example:8443"),
        ("specs/petstore.yaml", "petstore"),
        ({"openapi": "3.1.0", "info": {"title": "The Store"}}, "the_store"),
    ],
)
def test_tools_are_called_by_where_their_document_is(source: Any, label: str) -> None:
    assert OpenApi(source).tool("x").name == f"{label}.x"


def test_a_source_is_needed() -> None:
    with pytest.raises(BadInput, match="the URL, the file or the content of a document"):
        OpenApi("")
