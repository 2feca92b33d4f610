"""Pydantic AI agents within workflows: their operations, values, clock and telemetry.

Calls of models and tools are made in `segue.streams.executors`; here they are asked for.
"""

from segue.topics.extras import require

require("agents")
