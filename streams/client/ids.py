"""Identifiers, made only at the edge, where a task or signal enters: within, they derive from their cause."""

import secrets
import time

ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"
"""Crockford's base 32: no letters that look like digits, and in the order of their codes."""

TIME_CHARACTERS = 9
RANDOM_CHARACTERS = 8


def new_id() -> str:
    """17 characters that sort by time: 45 bits of milliseconds (until the year 3084), 40 random ones."""
    return _base32(time.time_ns() // 1_000_000, TIME_CHARACTERS) + _base32(
        secrets.randbits(40), RANDOM_CHARACTERS
    )


def _base32(number: int, characters: int) -> str:
    return "".join(ALPHABET[number >> 5 * place & 31] for place in reversed(range(characters)))
