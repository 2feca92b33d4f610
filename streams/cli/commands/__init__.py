"""One file for each command of `segue`, or for a few that belong together.

What they share (arguments, tables, drawing) is in `segue.streams.cli`.
"""
