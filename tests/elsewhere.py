"""Plays the corpus in this process, with other addresses than in another one, and tells what was asked for.

    python -m tests.elsewhere 7

Run by `tests/processors/test_asyncio.py`, with another hash seed in each process.
"""

import gc
import json
import random
import sys
from typing import Any

from tests.corpus import CASES, driver

KINDS: list[Any] = [object, list, dict, lambda: bytearray(random.randrange(600)), lambda: [None] * 7]


def noise(chance: random.Random) -> list[Any]:
    """Objects of many sizes; what is let go of between them is where others will be."""
    made = [chance.choice(KINDS)() for _ in range(2_000)]
    return [each for each in made if chance.random() < 0.5]


def main(seed: int) -> None:
    chance, kept, told = random.Random(seed), list[Any](), {}
    for case in CASES:
        if case.name == "long":
            continue
        kept.append(noise(chance))
        gc.set_threshold(chance.randrange(10, 700))
        told[case.name] = repr(case.play(driver()).written())
    json.dump(told, sys.stdout)


if __name__ == "__main__":
    main(int(sys.argv[1]))
