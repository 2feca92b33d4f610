"""Metrics, the log of failures, and the watchdog of the event loop.

What a log line may not say is in `text`.
"""
