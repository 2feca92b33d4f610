"""The shares of a limit add up to it, whoever owns which partitions."""

from math import inf

import pytest

from segue.processors.app.app import App
from segue.processors.routing.mcp import McpServer
from segue.processors.routing.rate_limits import Bucket, Limit, Share, places
from segue.processors.routing.routes import AnyRoute, ModelRoute, ToolRoute, names_of
from segue.processors.routing.tools import tool
from segue.topics.errors import BadInput


def share(limit: Limit, owned: set[int], partitions: int = 4, name: str = "rooms") -> Share:
    made = Share(name, limit, partitions)
    made.own(owned, 0.0)
    return made


def begun_at_once(one: Share, moved: bool = False) -> int:
    count = 0
    while one.wait_s(0.0, moved) == 0:
        one.begin()
        count += 1
    return count


@pytest.mark.parametrize("concurrent", [1, 2, 3, 4, 7, 64])
@pytest.mark.parametrize("split", [({0, 1, 2, 3},), ({0, 1}, {2, 3}), ({0}, {1, 2, 3}), ({0}, {1}, {2}, {3})])
def test_all_workers_together_make_as_many_calls_at_once_as_allowed(
    concurrent: int, split: tuple[set[int], ...]
) -> None:
    shares = [share(Limit(concurrent=concurrent), owned) for owned in split]
    assert sum(map(begun_at_once, shares)) == concurrent


def test_places_are_spread_evenly_and_not_alike_for_every_limit() -> None:
    assert sorted(places("rooms", 8, 4)) == [0, 0, 1, 1, 2, 2, 3, 3]
    assert len({places(f"limit {n}", 1, 4) for n in range(50)}) == 4


def test_a_worker_without_a_place_names_a_partition_that_has_one() -> None:
    (place,) = places("rooms", 1, 4)
    others = {0, 1, 2, 3} - {place}
    assert share(Limit(concurrent=1), others).elsewhere("t") == place
    assert share(Limit(concurrent=1), {place}).elsewhere("t") is None


def test_while_a_group_rebalances_nothing_begins_and_nothing_moves() -> None:
    none = share(Limit(concurrent=1, per_minute=60), set())
    assert none.elsewhere("t") is None
    assert none.wait_s(100.0, False) == inf


def test_a_call_that_was_moved_is_not_moved_again_whatever_has_changed_since() -> None:
    (place,) = places("rooms", 1, 4)
    assert begun_at_once(share(Limit(concurrent=1), {0, 1, 2, 3} - {place}), moved=True) == 1


def test_a_rate_is_paced_and_shared_by_partitions() -> None:
    halves = [share(Limit(per_minute=60), {0, 1}), share(Limit(per_minute=60), {2, 3})]
    begun = 0
    for tick in range(6_000):
        for half in halves:
            if half.wait_s(tick / 100, False) == 0:
                half.begin()
                begun += 1
    assert 60 <= begun <= 60 + 2


def test_tokens_are_paid_for_by_those_who_come_next() -> None:
    one = share(Limit(tokens_per_minute=600), {0, 1, 2, 3})
    assert one.wait_s(0.0, False) == 0
    one.begin()
    one.end(tokens=100)
    assert one.wait_s(0.0, False) == pytest.approx(10, abs=0.2)


def test_a_bucket_holds_a_second_of_its_rate_at_most() -> None:
    bucket = Bucket(per_minute=600, burst_min=1)
    bucket.share(1.0, 0.0)
    bucket.wait_s(3600.0)
    for _ in range(10):
        assert bucket.wait_s(3600.0) == 0
        bucket.take(1)
    assert bucket.wait_s(3600.0) == pytest.approx(0.1)


def test_a_limit_that_limits_nothing_or_forbids_all_is_refused() -> None:
    with pytest.raises(BadInput, match="this Limit sets no value"):
        Limit()
    with pytest.raises(BadInput, match="must be positive"):
        Limit(concurrent=0)


@tool
async def find() -> None: ...


HOTELS = McpServer("hotels", ("hotels",))
ROUTES: list[AnyRoute] = [
    ToolRoute("search", [HOTELS.tool("search"), find]),
    ModelRoute("rank", ["openai:large"]),
]


def test_a_call_counts_as_its_route_its_candidate_and_its_server() -> None:
    assert names_of(ROUTES[0], 0) == ("search", "hotels.search", "hotels")
    assert names_of(ROUTES[0], 1) == ("search", "find")
    assert names_of(ROUTES[1], 7) == ("rank",)


def test_a_limit_of_what_the_app_does_not_know_is_refused_with_what_it_knows() -> None:
    App("a", workflows=[], routes=ROUTES, limits={"hotels": Limit(concurrent=1), "rank": Limit(concurrent=2)})
    with pytest.raises(BadInput, match=r"'rnak'.*hotels, hotels\.search, openai:large, rank, search"):
        App("a", workflows=[], routes=ROUTES, limits={"rnak": Limit(concurrent=1)})
