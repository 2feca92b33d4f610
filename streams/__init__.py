"""What touches the world: the runner of stages, their state, calls of models and tools, the CLI, the broker.

Read `settings`, then `worker` and what it starts; everything here serves `processors`, which decides.
"""
