"""A model that needs no key and no network: it knows hotels and nothing else.

It is no language model. It reads a request with grammars for prices, people and dates (`request.py`,
`dates.py`) and a gazetteer (`places.py`), and judges reviews by what they say about each wish, negations
included (`reviews.py`, `ranking.py`). Nothing is prepared for particular requests: other words get other
answers, and words that it does not know are left out.
"""

from .model import OfflineModel

__all__ = ["OfflineModel"]
