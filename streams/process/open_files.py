"""How many files and connections a worker may have open: each HTTP call in flight takes one.

Many systems give a process 1,024 by default and let it raise that itself, up to the hard limit.
"""

import logging
import resource

log = logging.getLogger(__name__)

FILES_WANTED = 65_536


def allow_open_files() -> int:
    """Raise this process's limit as far as it may; return what it is then."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = FILES_WANTED if hard == resource.RLIM_INFINITY else min(FILES_WANTED, hard)
    if soft == resource.RLIM_INFINITY or soft >= wanted:
        return soft
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    except (OSError, ValueError) as error:
        log.warning(
            "this worker can open only %d files and connections, and the limit can't be raised: %s",
            soft,
            error,
        )
        return soft
    return wanted
