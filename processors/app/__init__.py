"""What a team declares: the `App`, its decorators, schedules, and the checks when an app is made.

The engine imports the look-ups (`definitions`), never this.
"""
