"""Stage `check`, the pure part: an output that was accepted is the step's result, a refused one loops back.

checks ─▶ check ─┬▶ events     accepted
                 └▶ failures   refused, with the critique for the next attempt
"""

from processors.tool import Reply, failed, succeeded
from topics.flow import Decision, Publish
from topics.records import CheckOutput, Critique, Problem


def accepted(record: CheckOutput, now_ms: int) -> Decision:
    reply = Reply(record.result, record.by, record.usage)
    return Decision([Publish("events", record.task, succeeded(record.call, reply, record.took_ms, now_ms))])


def refused(record: CheckOutput, reason: str, now_ms: int) -> Decision:
    problem = Problem(type="Refused", message=reason)
    critique = Critique(output=record.result, reason=reason)
    return failed(record.call, record.by, problem, record.took_ms, now_ms, critique)
