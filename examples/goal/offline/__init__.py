"""Two models that need no key and no network: they know how to look for a fault and nothing else.

They are no language models. Each of their turns is decided from what the tools have returned so far, and from
nothing else: another shop, another fault or another answer of a person takes them another way.
"""

from .on_call import on_call_model
from .reader import reader_model

__all__ = ["on_call_model", "reader_model"]
