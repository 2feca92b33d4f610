"""Who decides, in which order."""

import os
import sys
from pathlib import Path

from segue import ModelCandidate, ModelRoute

from .offline import OfflineModel

PACKAGE = str(__package__)
ROOT = str(Path(__file__).parents[PACKAGE.count(".") + 1])
PYTHON = (sys.executable, "-m")
PYTHON_PATH = {"PYTHONPATH": ROOT}
"""So that the services of this folder start from any working directory."""

MODEL = os.environ.get("SEGUE_MODEL")
MODELS: list[ModelCandidate] = [MODEL, OfflineModel()] if MODEL else [OfflineModel()]

decide = ModelRoute(
    "decide",
    MODELS,
    instructions=(
        "You serve the customers of a furniture shop. `log` is what was said and done so far; choose the one "
        "next move. Look orders and policies up before you speak of them, orders again after each of the "
        "customer's messages. Promise nothing that was not done: an action's outcome is in the log. Ask "
        "when it is not clear which order is meant. Tell the customer the outcome of an action; if it is "
        "`unclear`, hand over. Supervisors are asked for you where that is needed. Be short and friendly, "
        "and write in the customer's language."
    ),
)
