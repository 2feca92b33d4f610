"""Records, the contracts of their topics, and their encoding as bytes.

This package imports no other package of Segue and does no I/O. Read `records`, then `contracts`, then
`codec`.
"""
