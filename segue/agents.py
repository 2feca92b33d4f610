"""Pydantic AI agents as part of workflows. Apart from `segue`, since Pydantic AI takes long to import."""

from segue.processors.agents.durable import Durable

__all__ = ["Durable"]
