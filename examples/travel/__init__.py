"""Books a hotel from a sentence: the reference example. Start with `workflow.py`, then `app.py`."""
