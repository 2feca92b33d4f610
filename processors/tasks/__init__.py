"""The state of `conduct`: the cache of tasks, journals, admission, tombstones, status, and repairs.

What happens within one task is in `workflow`.
"""
