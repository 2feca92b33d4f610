"""Answers a question from a folder of documents, with sources that hold. Start with `workflow.py`."""
