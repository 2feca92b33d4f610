"""The worker: it runs stages, keeps their offsets and state in step, and publishes what they decide.

What Kafka is asked is in `kafka`; what a stage decides is in `segue.processors`.
"""

from segue.topics.extras import require

require("worker")
