"""What text may not carry: secrets, and characters that a terminal obeys.

What text says is decided elsewhere.
"""
