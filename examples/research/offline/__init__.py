"""A model that needs no key and no network: it compares options by what documents say, and nothing else.

It is no language model. It takes a question apart by its grammar (`planning.py`), looks for the sentences
that have the words of each part (`evidence.py`), quotes them (`writing.py`) and objects to quotes that do not
hold or were overtaken (`criticism.py`). Nothing is prepared for the documents that ship with the example.
"""

from .model import OfflineModel

__all__ = ["OfflineModel"]
