"""Encryption of records and state, and the ACLs that each role needs.

Secrets are taken out of text in `text`.
"""
