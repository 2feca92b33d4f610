"""A stage's state on this disk: the store, its rebuilding from a changelog, and the room that it needs.

The engine's bookkeeping beside it is in `engine`.
"""
