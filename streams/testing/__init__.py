"""Workflows played in memory, for tests: `segue.testing`. Read `rehearsal.py` first.

rehearsal   what a test sees ─▶ played   when the clock leaps, who makes the calls
                                  └▶ stages   the product's stages, with a log in memory
stand_ins, models, agents, executors      what answers in place of models and tools
twice, crashes                            what makes each test one of durability
"""

from segue.topics.extras import require

require("worker")
