"""From a complaint to a report: the agent decides each step, and each step survives a crash of anything."""

from segue import Task, workflow

from .agents import on_call
from .models import Incident


@workflow
async def resolve(_: Task, complaint: str) -> Incident:
    return (await on_call.run(complaint)).output
