"""Every stage of the pipeline, as pure functions of records: no Kafka, no clock, no randomness, no disk.

Read in the order of the pipeline: `intake`, `conduct` (with `performance`, `loop` and `task`, the workflow's
side of it), `model`, `tool`, `check`, `recover`, `delay`. `routes` and `app` hold what users declare.
"""
