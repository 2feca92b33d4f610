"""Who does what, in which order, and how patiently."""

import os
import sys
from pathlib import Path

from segue import McpServer, ModelCandidate, ModelRoute, Policy, ToolRoute

from .models import Availability, Hotels
from .offline import OfflineModel
from .tools import check_availability, last_known_rates, search_catalogue

PACKAGE = str(__package__)
ROOT = str(Path(__file__).parents[PACKAGE.count(".") + 1])
PYTHON = (sys.executable, "-m")
PYTHON_PATH = {"PYTHONPATH": ROOT}
"""So that the servers of this folder start from any working directory."""

MODEL = os.environ.get("SEGUE_MODEL")
MODELS: list[ModelCandidate] = [MODEL, OfflineModel()] if MODEL else [OfflineModel()]

interpret = ModelRoute(
    "interpret",
    MODELS,
    instructions=(
        "You turn a customer's request for a hotel into search criteria. Dates count from "
        "`today`; a date without a year "
        "is the next to come. `answers` are the customer's later additions and count more than the request. "
        "Leave out what the customer did not say; guess nothing."
    ),
)

rank = ModelRoute(
    "rank",
    MODELS,
    instructions=(
        "You rank hotels for a customer. Judge each wish by what the reviews say, and mind "
        "irony and negation. Leave out hotels "
        "whose guests report the opposite of a wish. Give each a reason that quotes the "
        "decisive review word for word."
    ),
)

search_server = McpServer("hotels", (*PYTHON, f"{PACKAGE}.search_server"), env=PYTHON_PATH)
hotel_search = ToolRoute(
    "hotel_search", [search_server.tool("search_hotels"), search_catalogue], output=Hotels
)

availability = ToolRoute(
    "availability",
    [check_availability, last_known_rates],
    output=Availability,
    policy=Policy(timeout_s=2, retries=2),
)
