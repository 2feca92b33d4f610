"""What an effect stage does with one record: choose a candidate, pass its limits, call, tell the outcome.

The calls themselves are in `executors`; partitions and commits are in `engine`.
"""
