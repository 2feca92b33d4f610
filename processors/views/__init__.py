"""What people see of a task: its timeline, steps and moments, told from its records.

Drawing it on a terminal or a page is in `segue.streams`.
"""
