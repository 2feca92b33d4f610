"""Mails what a folder of documents says, once a person agrees. Start with `workflow.py`."""
