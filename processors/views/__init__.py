"""Views of a task for people: its timeline, steps and timeline events, derived from its records.

Drawing it on a terminal or a page is in `segue.streams`.
"""
