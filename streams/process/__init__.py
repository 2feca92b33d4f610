"""What concerns this process alone: its lock, its HTTP servers, garbage collection, exits of user code.

Nothing here speaks to Kafka.
"""
