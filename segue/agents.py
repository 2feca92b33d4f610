"""Pydantic AI agents in workflows. This is a separate module because importing Pydantic AI takes long."""

from segue.processors.agents.durable import Durable

__all__ = ["Durable"]
