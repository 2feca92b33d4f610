"""One file for each stage of the pipeline, and what stages share: attempts, outcomes, records put aside.

A stage decides on one record; the state of `conduct` is in `tasks`, the life of a task in `workflow`.
"""
