"""Declared workflows and checks, the exceptions that count as bugs, and the registry that finds all by name.

Routes and tools are in `routing`; how users declare is in `app`.
"""
