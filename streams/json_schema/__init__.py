"""Checks of values by JSON schemas, with work and patterns that are bounded.

Types of the app itself are checked by pydantic, in `segue.processors.payloads`.
"""
