"""The research app: all that its workers can be asked for."""

from segue import App

from .checks import cites_only_found
from .routes import MODEL, critic, plan, search, write
from .tools import publish
from .workflow import research

SAMPLE = "Should Marenholm plant street trees or paint white roofs against the heat?"
OFFLINE = (
    "No model provider is set, so this example's own offline model plans, writes and criticizes. "
    "It compares options and quotes; it does not write prose. "
    "For a real one: SEGUE_MODEL=openai:gpt-5-mini OPENAI_API_KEY=…"
)

app = App(
    "research",
    workflows=[research],
    routes=[plan, write, critic, search],
    tools=[publish],
    checks=[cites_only_found],
    notice=f"{MODEL} plans, writes and criticizes; this example's offline model is its spare."
    if MODEL
    else OFFLINE,
    sample=(research, SAMPLE),
)
