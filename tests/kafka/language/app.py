"""An app whose schedule runs every second, and a workflow that does not end."""

from segue import App, Schedule, Task, tool, workflow


@workflow
async def tick(task: Task) -> str:
    return task.id


@tool
async def add(total: int, amount: int) -> int:
    return total + amount


@workflow
async def account(task: Task, total: int) -> int:
    """Adds what it is told; each amount is a run of its own. 0 ends it."""
    task.set_view({"total": total})
    amount = await task.signal("amount", int)
    if amount == 0:
        return total
    return task.continue_as_new(await task.tool(add, total, amount))


@workflow
async def savings(task: Task, total: int) -> int:
    """What it was told before it is opened ends one run after the other at once."""
    if total == 0:
        await task.signal("open")
    amount = await task.signal("amount", int)
    return task.continue_as_new(total + amount) if amount else total


app = App(
    "language",
    workflows=[tick, account, savings],
    tools=[add],
    schedules=[Schedule("ticks", tick, cron="* * * * * *", missed="all", overlap="wait")],
)
