"""A model that needs no key and no network: it knows orders, refunds, addresses and policies, no more.

It is no language model. It reads what customers want by their phrases (`wish.py`), keeps what they said over
the conversation, and chooses the next move by what it knows and what the policies say (`moves.py`): it looks
things up before it speaks, asks for what is missing, and hands over what it does not understand twice.
"""

from .model import OfflineModel

__all__ = ["OfflineModel"]
