"""The partition of a key, as Kafka's own clients choose it."""

# aiokafka is annotated only in part.
# pyright: reportUnknownVariableType=false

from functools import lru_cache

from aiokafka.partitioner import murmur2

CACHED_KEYS_MAX = 8_192
"""A task's key is asked for often while it runs, and never again: more would be memory that only grows."""


@lru_cache(maxsize=CACHED_KEYS_MAX)
def partition_of(key: bytes, partitions: int) -> int:
    """As Kafka's Java clients choose it: murmur2, made positive, modulo."""
    hashed: int = murmur2(key)
    return (hashed & 0x7FFFFFFF) % partitions
