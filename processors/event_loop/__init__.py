"""The event loop that a workflow's coroutine runs in: deterministic, without sockets, threads or the clock.

What a workflow asks for and waits for is in `workflow`.
"""
