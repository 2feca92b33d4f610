"""The code that really calls: one executor for each effect stage.

An executor makes exactly one call for each call record: no retries and no time-outs of its own, for those are
the policy's and durable. It raises what went wrong; `segue.streams.calls.failures` says what that means.
Provider libraries and MCP are imported when a candidate that needs them is first used.
"""

from segue.streams.executors.check import CheckExecutor
from segue.streams.executors.model import ModelExecutor
from segue.streams.executors.tool import ToolExecutor

__all__ = ["CheckExecutor", "ModelExecutor", "ToolExecutor"]
