"""Stage `model`, the pure part: the conversation that a call of a model stands for.

    model-calls ─▶ model ─┬▶ events     the answer
                          ├▶ checks     the answer, if it must pass checks first
                          └▶ failures   the attempt failed, or its output was no answer

What is published is the same as for a tool: see `processors/stages/tool.py`.
"""

from typing import Any, Literal, NamedTuple

from segue.processors.stages.judge import asked
from segue.topics.records import CallModel


class Turn(NamedTuple):
    role: Literal["user", "assistant"]
    content: Any


def conversation(call: CallModel) -> list[Turn]:
    """The prompt, then each output that was refused with the reason why: the loop back."""
    turns = [Turn("user", call.prompt if call.judging is None else asked(call.judging))]
    for critique in call.critiques:
        turns += Turn("assistant", critique.output), Turn("user", f"{critique.reason}\nAnswer again.")
    return turns
