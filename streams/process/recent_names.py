"""Names that were noted a short while ago."""

import time
from collections import OrderedDict


class RecentNames:
    """Holds the names that were noted within the last `seconds`, the newest `most` of them."""

    def __init__(self, most: int, seconds: float) -> None:
        self._most = most
        self._seconds = seconds
        self._noted_s: OrderedDict[str, float] = OrderedDict()

    def __contains__(self, name: str) -> bool:
        noted_s = self._noted_s.get(name)
        return noted_s is not None and time.monotonic() - noted_s < self._seconds

    def add(self, name: str) -> None:
        self._noted_s[name] = time.monotonic()
        self._noted_s.move_to_end(name)
        if len(self._noted_s) > self._most:
            self._noted_s.popitem(last=False)
