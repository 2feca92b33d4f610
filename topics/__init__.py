"""What travels: records, the contracts of the topics that carry them, and their bytes.

Imports nothing else of Segue and does no I/O. Read `records`, then `contracts`, then `codec`.
"""
