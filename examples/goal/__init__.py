"""An agent with a goal: find out why a shop fails, and mend it. Start with `agents.py`."""
