"""What belongs to one task and is used by another: how that is recognised, and what to do instead."""

import re

from segue.topics.descriptions import text_of
from segue.topics.errors import leaves

OWN = (
    "a lock, semaphore, queue, event or future belongs to one task, so create it in the workflow; to "
    "limit calls across tasks, use App(…, limits={route: Limit(…)})"
)

SHARED = f"it uses an object that belongs to another task or a thread: {OWN}"

_OTHER_LOOP = re.compile(r"\bdifferent (event )?loop\b|^await wasn't used with future$")


def is_of_another_loop(error: BaseException) -> bool:
    """Whether asyncio says of a lock or a future that another task has it, in a text that tells addresses."""
    said = (text_of(each) for each in leaves(error) if type(each) in (RuntimeError, ValueError))
    return any(map(_OTHER_LOOP.search, said))
