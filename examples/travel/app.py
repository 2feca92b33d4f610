"""The travel app: all that its workers can be asked for, and the services that `segue dev` starts."""

from segue import App, Service

from .addresses import AVAILABILITY_PORT, BOOKING_PORT, TRANSFER_PORT
from .checks import in_the_future, only_hotels_found
from .routes import MODEL, PYTHON, PYTHON_PATH, availability, hotel_search, interpret, rank
from .tools import book, reserve_transfer
from .workflow import book_trip

FAILING = "costa-da-caparica-pousada-da-barra"
SLOW = "ericeira-das-figueiras"
"""Two of the best hotels for the sample: one never answers, one does not the first time."""

SAMPLE = "find me a quiet beach hotel near Lisbon for the first week of October, under 200 a night"
OFFLINE = (
    "No model provider is set, so this example's own offline model interprets and ranks. "
    "It knows hotels only. "
    "For a real one: SEGUE_MODEL=openai:gpt-5-mini OPENAI_API_KEY=…"
)

app = App(
    "travel",
    workflows=[book_trip],
    routes=[interpret, rank, hotel_search, availability],
    tools=[book, reserve_transfer],
    checks=[in_the_future, only_hotels_found],
    services=[
        Service(
            "availability",
            (*PYTHON, f"{__package__}.availability_service", "--fail", FAILING, "--slow", SLOW),
            ready=f"http://127.0.0.1:{AVAILABILITY_PORT}/health",
            env=PYTHON_PATH,
        ),
        Service(
            "transfer",
            (*PYTHON, f"{__package__}.transfer_service"),
            ready=f"http://127.0.0.1:{TRANSFER_PORT}/health",
            env=PYTHON_PATH,
        ),
        Service(
            "booking",
            (*PYTHON, f"{__package__}.booking_service"),
            ready=f"http://127.0.0.1:{BOOKING_PORT}/health",
            env=PYTHON_PATH,
        ),
    ],
    notice=f"{MODEL} interprets and ranks; this example's offline model is its fallback."
    if MODEL
    else OFFLINE,
    sample=(book_trip, SAMPLE),
)
