"""All stages of the pipeline, as pure functions of records: no Kafka, clock, randomness or disk.

Read `stages` in the order of the pipeline, then `workflow`, which runs one task. What users declare is in
`app`, `definitions` and `routing`; what touches the world is in `segue.streams`.
"""
