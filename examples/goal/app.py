"""The on-call app: its workflow, its agents, and the shop that `segue dev` starts beside it."""

from segue import App, Service

from .addresses import SHOP_PORT
from .agents import MODEL, PACKAGE, PYTHON, PYTHON_PATH, log_reader, on_call
from .workflow import resolve

SAMPLE = "Customers say that the shop answers with errors since noon. Find out why, and mend it."
OFFLINE = (
    "No model provider is set, so this example's own offline model is on call. "
    "It knows services that call one another and nothing else. "
    "For a real one: SEGUE_MODEL=openai:gpt-5-mini OPENAI_API_KEY=…"
)

app = App(
    "goal",
    workflows=[resolve],
    agents=[on_call, log_reader],
    services=[
        Service(
            "shop",
            (*PYTHON, f"{PACKAGE}.shop_service"),
            ready=f"http://127.0.0.1:{SHOP_PORT}/ready",
            env=PYTHON_PATH,
        )
    ],
    notice=f"{MODEL} is on call; this example's offline model is its spare." if MODEL else OFFLINE,
    sample=(resolve, SAMPLE),
)
