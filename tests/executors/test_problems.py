"""What an exception means for the policy and for people."""

import asyncio
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import aiohttp
import httpx
import pytest
from multidict import CIMultiDict, CIMultiDictProxy
from pydantic import BaseModel, ValidationError
from yarl import URL

from segue.streams.calls.failures import MESSAGE_CHARS_MAX, OutputRefused, problem_of, retry_after_s
from segue.streams.text.redaction import redact
from segue.topics.errors import BadInput, OutputRejected, Permanent, Retryable, UnknownName
from segue.topics.records import Critique, Problem


def test_what_httpx_asked_for_is_told_without_its_query() -> None:
    request = httpx.Request("GET", "http://hotels.example/rooms?check_in=2027-10-01")
    with pytest.raises(httpx.HTTPStatusError) as raised:
        httpx.Response(503, request=request).raise_for_status()
    message = "HTTP 503 Service Unavailable: GET http://hotels.example/rooms"
    assert problem_of(raised.value) == Problem(type="HTTPStatusError", message=message)


def http_error(status: int, headers: dict[str, str] | None = None) -> httpx.HTTPStatusError:
    request = httpx.Request("GET", "http://hotels.example/rooms")
    response = httpx.Response(status, headers=headers, request=request)
    return httpx.HTTPStatusError("the service refused", request=request, response=response)


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (Retryable("busy", retry_after_s=3), Problem(type="Retryable", message="busy", retry_after_s=3)),
        (Permanent("sold out"), Problem(type="Permanent", message="sold out", retryable=False)),
        (BadInput("no"), Problem(type="BadInput", message="no", retryable=False)),
        (UnknownName("no route"), Problem(type="UnknownName", message="no route")),
        (OutputRejected("not in the list"), Problem(type="OutputRejected", message="not in the list")),
        (TimeoutError(), Problem(type="TimeoutError", message="timed out")),
        (OutputRefused({}, "empty"), Problem(type="OutputRefused", message="empty")),
        (ExceptionGroup("tasks", [Permanent("x")]), Problem(type="Permanent", message="x", retryable=False)),
        (
            ConnectionRefusedError(111, "Connection refused"),
            Problem(type="ConnectionRefusedError", message="no connection: [Errno 111] Connection refused"),
        ),
        (httpx.ReadTimeout("slow"), Problem(type="ReadTimeout", message="no connection: slow")),
        (asyncio.CancelledError(), Problem(type="CancelledError", message="cancelled")),
    ],
)
def test_what_is_known_needs_no_traceback(error: BaseException, expected: Problem) -> None:
    assert problem_of(error) == expected


@pytest.mark.parametrize(
    ("asked", "kept"), [(float("inf"), None), (float("nan"), None), (-1, 0), (1e300, 366 * 86400)]
)
def test_a_tool_may_ask_to_wait_for_no_more_than_a_year(asked: float, kept: float | None) -> None:
    assert problem_of(Retryable("busy", retry_after_s=asked)).retry_after_s == kept


def test_a_refused_output_carries_its_critique() -> None:
    assert OutputRefused([1], "not JSON").critique == Critique(output=[1], reason="not JSON")


@pytest.mark.parametrize(
    ("status", "retryable"),
    [(s, True) for s in (408, 409, 425, 429, 500, 502, 503, 504, 529)]
    + [(s, False) for s in (400, 401, 402, 403, 404, 405, 410, 422, 501, 505)],
)
def test_the_status_decides(status: int, retryable: bool) -> None:
    for error in (http_error(status), client_error(status)):
        found = problem_of(error)
        assert (found.retryable, found.message.startswith(f"HTTP {status}")) == (retryable, True)
        assert found.traceback is None


def client_error(status: int) -> aiohttp.ClientResponseError:
    url = URL("http://hotels.example")
    info = aiohttp.RequestInfo(url, "GET", headers=CIMultiDictProxy(CIMultiDict[str]()), real_url=url)
    return aiohttp.ClientResponseError(info, (), status=status, message="refused")


def test_the_service_may_say_itself_whether_to_retry() -> None:
    assert not problem_of(http_error(500, {"x-should-retry": "false"})).retryable
    assert problem_of(http_error(404, {"x-should-retry": "true"})).retryable


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, None),
        ({"retry-after": "7"}, 7),
        ({"retry-after": "1.5"}, 1.5),
        ({"retry-after": "soon"}, None),
        ({"retry-after": "nan"}, None),
        ({"retry-after": "-3"}, 0),
        ({"retry-after": "99999999"}, 86400),
        ({"retry-after-ms": "250", "retry-after": "9"}, 0.25),
        ({"ratelimit-reset": "30"}, 30),
        ({"x-ratelimit-reset": "6m0s"}, None),
    ],
)
def test_how_long_a_service_asks_to_wait(headers: dict[str, str], seconds: float | None) -> None:
    assert retry_after_s(headers) == seconds


def test_a_service_may_name_a_date_or_an_epoch() -> None:
    soon = datetime.now(UTC) + timedelta(seconds=60)
    for headers in (
        {"retry-after": format_datetime(soon, usegmt=True)},
        {"x-ratelimit-reset": str(soon.timestamp())},
    ):
        assert retry_after_s(headers) == pytest.approx(60, abs=2)
    assert retry_after_s({"retry-after": "Wed, 21 Oct 2015 07:28:00 GMT"}) == 0


class Hotel(BaseModel):
    stars: int


def test_data_that_does_not_validate_is_permanent() -> None:
    with pytest.raises(ValidationError) as failure:
        Hotel.model_validate({"stars": "many"})
    assert problem_of(failure.value) == Problem(
        type="ValidationError",
        message="Hotel: stars: Input should be a valid integer, unable to parse string as an integer",
        retryable=False,
    )


def rooms() -> int:
    hotel: dict[str, int] = {}
    return hotel["rooms"]


def test_the_unexpected_is_retryable_with_its_traceback() -> None:
    with pytest.raises(KeyError) as failure:
        rooms()
    found = problem_of(failure.value)
    assert (found.type, found.message, found.retryable) == ("KeyError", "KeyError: 'rooms'", True)
    assert found.traceback is not None
    assert "in rooms" in found.traceback
    assert found.traceback.endswith("KeyError: 'rooms'\n")


def test_what_is_kept_is_small() -> None:
    found = problem_of(RuntimeError("x" * 100_000))
    assert len(found.message) < MESSAGE_CHARS_MAX + 50
    assert found.message.endswith("… (98014 more characters)")
    assert len(found.traceback or "") <= 8_000


@pytest.mark.parametrize(
    ("text", "clean"),
    [
        ("key sk-proj-abcdef123456 refused", "key [redacted] refused"),
        ("Authorization: Bearer abc.def-123", "Authorization: Bearer [redacted]"),
        ("GET http://h/?api_key=abcdef&q=1", "GET http://h/?api_key=[redacted]&q=1"),
        ("{'password': 'hunter22'}", "{'password': '[redacted]'}"),
        ("amqp://user:secret1@host/", "amqp://user:[redacted]@host/"),
        ("the token count is 12", "the token count is 12"),
    ],
)
def test_secrets_are_taken_out(text: str, clean: str) -> None:
    assert redact(text) == clean
    assert problem_of(Retryable(text)).message == clean


def test_secrets_of_the_environment_are_taken_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOTELS_TOKEN", "correct horse battery")
    assert problem_of(Permanent("not correct horse battery")).message == "not [redacted]"
