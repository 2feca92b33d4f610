"""Who does what, in which order, and how patiently."""

import os
import sys
from pathlib import Path

from segue import McpServer, ModelCandidate, ModelRoute, Policy, ToolRoute

from .models import Passages
from .offline import OfflineModel
from .tools import search_here

PACKAGE = str(__package__)
ROOT = str(Path(__file__).parents[PACKAGE.count(".") + 1])
PASSED_ON = ("RESEARCH_LIBRARY", "RESEARCH_FAIL")

MODEL = os.environ.get("SEGUE_MODEL")
MODELS: list[ModelCandidate] = [MODEL, OfflineModel()] if MODEL else [OfflineModel()]

plan = ModelRoute(
    "plan",
    MODELS,
    instructions=(
        "You plan a search in a folder of documents. Break the question into what has to be looked up, one "
        "thing each, in the few words that a passage about it would have. Compare the same of each option."
    ),
)

write = ModelRoute(
    "write",
    MODELS,
    instructions=(
        "You answer `questions` from `passages` alone. Quote the deciding sentence word for word and name "
        "its passage. `objections` are a critic's, to your last draft: mend it. "
        "What no passage answers is unanswered."
    ),
)

critic = ModelRoute(
    "critic",
    MODELS,
    instructions=(
        "You check a draft against `passages`. Object where a quote is not in its source word for word, "
        "where it does not answer its question, or where a newer passage says otherwise. Where a question is "
        "unanswered and other words than those in `searched` could find something, object with these words "
        "as `search`. If all holds, object to nothing."
    ),
)

environment = {"PYTHONPATH": ROOT} | {name: os.environ[name] for name in PASSED_ON if name in os.environ}
library = McpServer("library", (sys.executable, "-m", f"{PACKAGE}.library_server"), env=environment)
search = ToolRoute(
    "search", [library.tool("search"), search_here], output=Passages, policy=Policy(timeout_s=30, retries=1)
)
