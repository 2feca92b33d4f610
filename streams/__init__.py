"""What touches the world: Kafka, the engine of stages, calls of models and tools, client, CLI and page.

Read `settings`, then `engine.worker` and what it starts. What a stage decides is in `segue.processors`.
"""
