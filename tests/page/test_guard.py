"""Who may speak to the page, and what may run on it."""

import pytest

from segue.streams.ui import Place
from tests.page.played import Played, browser, decoded
from tests.page.seen import PATHS


async def test_nothing_inline_runs_and_nobody_else_frames_or_reads_it(source: Played) -> None:
    async with browser(source) as there:
        for path in (*PATHS, "/nowhere", "/static/page.js"):
            headers = (await there.get(path)).headers
            policy = headers["content-security-policy"]
            assert "default-src 'none'" in policy
            assert "frame-ancestors 'none'" in policy
            assert "unsafe" not in policy
            assert headers["x-content-type-options"] == "nosniff"
            assert headers["referrer-policy"] == "same-origin"


@pytest.mark.parametrize(
    "host", ["evil.example:9465", "evil.example", "127.0.0.1", "127.0.0.1:80", "10.0.0.1:9465", ""]
)
async def test_who_comes_by_another_name_is_refused(source: Played, host: str) -> None:
    async with browser(source, {"Host": host}) as there:
        assert (await there.get("/")).status_code == 403


@pytest.mark.parametrize("host", ["127.0.0.1:9465", "localhost:9465", "LOCALHOST:9465", "[::1]:9465"])
async def test_this_machine_s_names_are_right(source: Played, host: str) -> None:
    async with browser(source, {"Host": host, "Origin": f"http://{host}"}) as there:
        assert (await there.get("/")).status_code == 200


@pytest.mark.parametrize(
    "headers",
    [
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
        {"Sec-Fetch-Site": "none"},
        {"Origin": "http://evil.example"},
        {"Origin": "http://127.0.0.1:9464"},
        {"Origin": "null"},
    ],
)
@pytest.mark.parametrize("path", ["/answer", "/signal", "/cancel", "/name"])
async def test_a_form_of_another_site_changes_nothing(
    source: Played, path: str, headers: dict[str, str]
) -> None:
    await source.start("letter", "Send?")
    form = {"task": "t", "step": "0", "option": "0", "name": "x", "reason": "x"}
    async with browser(source, headers) as there:
        assert (await there.post(path, data=form)).status_code == 403
    async with browser(source) as there:
        there.headers.pop("origin")
        there.headers.pop("sec-fetch-site")
        assert (await there.post(path, data=form)).status_code == 403
    assert (decoded(source, "signals"), (await source.status("t")).state) == ([], "waiting")


async def test_a_page_to_look_at_takes_no_answers(source: Played) -> None:
    await source.start("trip", "single")
    async with browser(source, read_only=True) as there:
        for path in ("/", "/questions", "/tasks/t"):
            page = (await there.get(path)).text
            assert 'method="post"' not in page
        assert "Alba" in page
        for path in ("/answer", "/signal", "/cancel", "/name"):
            refused = await there.post(path, data={"task": "t", "step": "1", "option": "0"})
            assert refused.status_code == 404
    assert (await source.status("t")).state == "waiting"


async def test_a_form_that_is_far_too_large_or_none_is_refused(source: Played) -> None:
    async with browser(source) as there:
        large = await there.post("/answer", content=b"value=" + b"x" * 3_000_000)
        none = await there.post("/answer", content=b"\xff=\xff")
        many = await there.post("/answer", content=b"&".join(b"a=1" for _ in range(1000)))
    assert [each.status_code for each in (large, none, many)] == [400, 400, 400]


@pytest.mark.parametrize(
    ("host", "authority", "right"),
    [
        ("0.0.0.0", "10.1.2.3:9465", True),
        ("::", "[fe80::1]:9465", True),
        ("0.0.0.0", "localhost:9465", True),
        ("0.0.0.0", "10.1.2.3:80", False),
        ("0.0.0.0", "rebound.example:9465", False),
        ("10.1.2.3", "10.1.2.3:9465", True),
        ("10.1.2.3", "10.1.2.4:9465", False),
        ("box.lan", "BOX.lan:9465", True),
        ("127.0.0.1", "tasks.example", True),
        ("127.0.0.1", "tasks.example:8443", True),
        ("127.0.0.1", "tasks.example:many", False),
    ],
)
def test_the_addresses_of_the_page_are_those_it_serves(host: str, authority: str, right: bool) -> None:
    assert Place(host, 9465, frozenset({"tasks.example"})).is_addressed(authority) is right
