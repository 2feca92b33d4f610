"""The offsets of unfinished calls: which ones a commit names, and how its metadata encodes them.

Positions are in `streams.kafka.positions`, the calls of a stage in `streams.engine`.
"""
