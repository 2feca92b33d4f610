"""A conversation with a customer, from the first message to the last: this is all there is to the workflow.

The model proposes each next move; what it may do, and when a person must agree, is decided here. Each `await`
is a step that survives a crash of anything, and a conversation may take weeks.
"""

import asyncio
from datetime import timedelta

from segue import StepError, Task, workflow

from .approval import consent_needed, found, known_order, transcript
from .models import (
    Acted,
    Action,
    Case,
    ChangeAddress,
    Close,
    Closed,
    Entry,
    Failed,
    FindOrders,
    HandOver,
    Move,
    OrdersFound,
    Person,
    PolicyRead,
    ReadPolicy,
    Refund,
    Reply,
    Said,
    Verdict,
)
from .routes import decide
from .tools import change_address, find_orders, post, read_policy, refund

SILENCE = timedelta(days=3)
"""A customer who says nothing for so long has what they came for."""

PATIENCE = timedelta(days=1)
"""With a supervisor, and with the person who takes over."""

MOVES_MAX = 10
"""Until the customer hears something; a model that goes on and on is going round in circles."""


@workflow
async def support(task: Task, case: Case) -> Closed:
    log: list[Entry] = []
    await say(task, log, "customer", case.message)
    how = await serve(task, case.customer, log)
    while how is None:
        how = (
            "the customer fell silent"
            if not await listen(task, log)
            else await serve(task, case.customer, log)
        )
    done = [str(entry.action) for entry in log if isinstance(entry, Acted) and entry.outcome == "done"]
    messages = sum(isinstance(entry, Said) and entry.who == "customer" for entry in log)
    return Closed(how=how, messages=messages, done=done)


async def serve(task: Task, customer: str, log: list[Entry]) -> str | None:
    """Act until there is something to say. What is returned is how the conversation ended, if it did."""
    for _ in range(MOVES_MAX):
        asked = {"today": task.now().date(), "customer": customer, "log": log}
        try:
            chosen = await task.model(decide, asked, output=Move, check=known_order(found=found(log)))
        except StepError as failed:
            return await hand_over(task, log, failed.problem.message)
        match move := chosen.move:
            case Reply(text=text):
                await say(task, log, "assistant", text)
                return None
            case FindOrders() | ReadPolicy():
                log.append(await look_up(task, customer, move))
            case Refund() | ChangeAddress():
                log.append(await act(task, log, move))
            case HandOver(reason=reason):
                return await hand_over(task, log, reason)
            case Close(text=text):
                await say(task, log, "assistant", text)
                return "the customer was served"
    return await hand_over(task, log, "the assistant does not know how to go on")


async def listen(task: Task, log: list[Entry]) -> bool:
    """Wait for the customer's next message: a signal. Those that came in the meantime stand in line."""
    try:
        async with asyncio.timeout(SILENCE.total_seconds()):
            text = str(await task.signal("message"))
    except TimeoutError:
        return False
    await say(task, log, "customer", text)
    return True


async def say(task: Task, log: list[Entry], who: str, text: str) -> None:
    """Into the conversation, where the customer sees it."""
    log.append(Said.model_validate({"who": who, "text": text}))
    await task.tool(post, who, text)


async def look_up(task: Task, customer: str, move: FindOrders | ReadPolicy) -> Entry:
    """Orders are those of who is logged in, whatever the model was talked into."""
    try:
        if isinstance(move, FindOrders):
            return OrdersFound(orders=await task.tool(find_orders, customer))
        return PolicyRead(topic=move.topic, text=await task.tool(read_policy, move.topic))
    except StepError as failed:
        return Failed(what=str(failed))


async def act(task: Task, log: list[Entry], action: Action) -> Acted:
    """Do what moves money or parcels: once, and above the limits only if a supervisor agrees."""
    if question := consent_needed(action, log):
        await say(task, log, "assistant", "I have to ask a colleague about this. You will hear from me here.")
        verdict = await task.ask(
            "supervisor",
            f"May I {question}\n\n{transcript(log)}",
            options={"Approve": Verdict.APPROVE, "Refuse": Verdict.REFUSE},
            answer=str,
            timeout=PATIENCE,
            default="Nobody could decide this in time.",
        )
        if verdict is not Verdict.APPROVE:
            return Acted(
                action=action, outcome="refused", detail="" if verdict is Verdict.REFUSE else verdict
            )
    try:
        if isinstance(action, Refund):
            await task.tool(refund, action)
        else:
            await task.tool(change_address, action)
    except StepError as failed:
        unclear = failed.problem.retryable  # it was tried until the retries were used up
        return Acted(action=action, outcome="unclear" if unclear else "failed", detail=failed.problem.message)
    return Acted(action=action, outcome="done")


async def hand_over(task: Task, log: list[Entry], reason: str) -> str | None:
    """From here on a person writes, until they give the conversation back or close it."""
    await say(task, log, "assistant", "A colleague goes on from here. They will write to you soon.")
    while True:
        answer = await task.ask(
            "agent",
            f"What shall the customer be told? ({reason})\n\n{transcript(log)}",
            options={"Back to the assistant": Person.BACK, "Close the conversation": Person.CLOSE},
            answer=str,
            timeout=PATIENCE,
            default=Person.CLOSE,
        )
        match answer:
            case Person.BACK:
                return None
            case Person.CLOSE:
                return "a person closed it"
            case text:
                await say(task, log, "person", text)
        if not await listen(task, log):
            return "the customer fell silent"
