"""The object store: large values, kept by reference and removed with their tasks.

What users see of it, `Blob`, is in `segue.processors.payloads`.
"""
