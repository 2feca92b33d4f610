"""The support app: all that its workers can be asked for, and the services that `segue dev` starts."""

from segue import App, Service

from .addresses import CHAT_PORT, CHAT_URL, SHOP_PORT
from .approval import known_order
from .models import Case
from .routes import MODEL, PYTHON, PYTHON_PATH, decide
from .tools import change_address, find_orders, post, read_policy, refund
from .workflow import support

SAMPLE = Case(customer="ana@example.com", message="My desk lamp arrived broken, I want my money back.")
OFFLINE = (
    "No model provider is set, so this example's own offline model decides, by rules. It knows orders, "
    "refunds, addresses and policies. For a real one: SEGUE_MODEL=openai:gpt-5-mini OPENAI_API_KEY=…"
)
HOW = (
    f"The customer goes on by `segue signal TASK message 'and where is 1057?'` (`segue tasks` has the id), "
    f"and sees {CHAT_URL}/conversations/TASK. Or be one: python -m {__package__}.chat"
)

app = App(
    "support",
    workflows=[support],
    routes=[decide],
    tools=[find_orders, read_policy, refund, change_address, post],
    checks=[known_order],
    services=[
        Service(
            "shop",
            (*PYTHON, f"{__package__}.shop_service"),
            ready=f"http://127.0.0.1:{SHOP_PORT}/health",
            env=PYTHON_PATH,
        ),
        Service(
            "chat",
            (*PYTHON, f"{__package__}.chat_service"),
            ready=f"http://127.0.0.1:{CHAT_PORT}/health",
            env=PYTHON_PATH,
        ),
    ],
    notice=f"{f'{MODEL} decides; the offline model is its fallback.' if MODEL else OFFLINE}\n{HOW}",
    sample=(support, SAMPLE.model_dump()),
)
