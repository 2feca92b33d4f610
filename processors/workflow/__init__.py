"""One task's life: its execution and phases, its context, and what a workflow may ask for.

The state of all tasks of a partition is in `tasks`; declarations are in `definitions` and `routing`.
"""
