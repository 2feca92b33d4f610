"""Contact with the brokers: consumer groups, producers, transactions, offsets, topics and clocks.

Stages, tasks and calls are unknown here.
"""
