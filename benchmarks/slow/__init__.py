"""Slow calls: thousands of calls of 2 s in flight on one worker. `__main__.py` says what is measured."""
