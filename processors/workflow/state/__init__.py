"""The parts of an execution context: steps, signals and verdicts of validation.

What changes them is in `segue.processors.workflow`.
"""
