"""Serves a shop's customers in one long conversation each. Start with `workflow.py`, then `app.py`."""
