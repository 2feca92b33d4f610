"""The offline models go by what the tools return: another fault or answer leads another way."""

from datetime import time
from typing import Any

import pytest
from pydantic_ai import Agent
from pydantic_ai.capabilities import HandleDeferredToolCalls
from pydantic_ai.tools import DeferredToolRequests, DeferredToolResults

from examples.goal.models import Changes, Health, Incident, LogExcerpt, Onset, RolledBack, Services
from examples.goal.offline import on_call_model, reader_model
from examples.goal.shop import Fault, Shop

LOOKS_MAX = 15
"""Halving fourteen hours down to a minute takes no more."""


def broken(change: str, since: str, share: float = 0.45) -> Shop:
    shop = Shop()
    fault = Fault.model_validate({"change": change, "from": since, "share": share, "error": "Boom: it broke"})
    shop.plan = shop.plan.model_copy(update={"fault": fault})
    return shop


def reader(shop: Shop, looks: list[time]) -> Agent[None, Onset]:
    def search_log(service: str, start: time, end: time) -> LogExcerpt:
        looks.append(start)
        return shop.log(service, start, end)

    return Agent(reader_model(), output_type=Onset, tools=[search_log])


def on_call(shop: Shop) -> Agent[None, Incident]:
    """The agent of the example with plain tools: no MCP server, no HTTP."""
    agent = Agent(on_call_model(), output_type=Incident)

    @agent.tool_plain
    def services() -> Services:
        return shop.services()

    @agent.tool_plain
    def health(service: str) -> Health:
        return shop.health(service)

    @agent.tool_plain
    def changes(since: time, until: time) -> Changes:
        return Changes(changes=shop.changes(since, until))

    @agent.tool_plain
    async def find_onset(service: str) -> Onset:
        asked = f"When did {service} begin to fail today, and with what?"
        return (await reader(shop, []).run(asked)).output

    @agent.tool_plain(requires_approval=True)
    def roll_back(change: str, reason: str) -> RolledBack:
        found = shop.change(change)
        assert found is not None
        return shop.roll_back(found, key=f"key of {change}")

    return agent


async def mended(shop: Shop, *, refused: str = "") -> Incident:
    def decide(_: Any, requests: DeferredToolRequests) -> DeferredToolResults:
        calls = {call.tool_call_id: call.args_as_dict()["change"] for call in requests.approvals}
        return DeferredToolResults(approvals={call: change != refused for call, change in calls.items()})

    return (await on_call(shop).run("help", capabilities=[HandleDeferredToolCalls(handler=decide)])).output


@pytest.mark.parametrize("since", ["00:00", "06:31", "13:12", "13:59"])
async def test_the_reader_finds_the_minute(since: str) -> None:
    shop, looks = broken("config-771", since), list[time]()
    found = (await reader(shop, looks).run("When did scores begin to fail today, and with what?")).output
    assert found == Onset(service="scores", began=time.fromisoformat(since), error="Boom: it broke")
    assert len(looks) <= LOOKS_MAX


async def test_the_reader_says_that_nothing_ever_failed() -> None:
    asked = "When did tax begin to fail today, and with what?"
    assert (await reader(Shop(), []).run(asked)).output == Onset(service="tax")


async def test_the_likeliest_change_is_tried_first_and_the_cause_after_it() -> None:
    incident = await mended(Shop())
    assert (incident.resolved, incident.cause) == (True, "config-771")
    assert incident.rolled_back == ["deploy-2237", "config-771"]


@pytest.mark.parametrize(
    ("change", "since", "affected"),
    [
        ("deploy-2234", "12:10", ["storefront", "checkout", "payments"]),
        ("flag-search-synonyms", "10:41", ["storefront", "search"]),
    ],
)
async def test_another_fault_leads_another_way(change: str, since: str, affected: list[str]) -> None:
    incident = await mended(broken(change, since))
    assert (incident.resolved, incident.rolled_back, incident.affected) == (True, [change], affected)


async def test_what_a_person_refuses_is_not_asked_again_and_is_reported() -> None:
    incident = await mended(Shop(), refused="config-771")
    assert (incident.resolved, incident.cause, incident.rolled_back) == (False, None, ["deploy-2237"])
    assert "a person is needed" in incident.summary


async def test_where_all_is_well_nothing_is_touched() -> None:
    incident = await mended(broken("config-771", "13:12", share=0.0))
    assert (incident.resolved, incident.rolled_back, incident.affected) == (True, [], [])


def test_the_same_key_is_the_same_rollback_and_no_other() -> None:
    shop = Shop()
    mail, payments = shop.change("deploy-2236"), shop.change("deploy-2234")
    assert mail is not None
    assert payments is not None
    assert shop.roll_back(mail, "k") == shop.roll_back(mail, "k")
    with pytest.raises(ValueError, match="of the rollback of deploy-2236"):
        shop.roll_back(payments, "k")
