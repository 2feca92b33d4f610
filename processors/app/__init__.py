"""The declarations of a team: the `App`, its decorators and schedules, and the checks when it is made.

The engine imports the look-ups (`definitions`), never this.
"""
