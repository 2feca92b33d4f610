"""A model that needs no key and no network: it reads errands, quotes documents and writes plain mails.

It is no language model. It reads an errand by its phrases (`errand.py`), picks the sentences that answer it
by the words that they share (`summary.py`), understands what authors usually say about a draft (`notes.py`),
and puts a letter together from that (`letter.py`). Nothing is prepared for particular documents or errands;
what it does not understand it says.
"""

from .model import OfflineModel

__all__ = ["OfflineModel"]
