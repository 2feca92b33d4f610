"""The documents app: all that its workers can be asked for, and the mail server that `segue dev` starts."""

from segue import App, Service

from .addresses import FOLDER, MAILS_PORT, SMTP_HOST, SMTP_PORT
from .checks import quoted
from .routes import MODEL, PYTHON, PYTHON_PATH, document_search, read, summarize, write
from .tools import send
from .workflow import tell

SAMPLE = "tell dana@example.com what the move to Harbour Street means for her team"
OFFLINE = (
    "No model provider is set, so this example's own offline model reads, quotes and writes, by rules. "
    "For a real one: SEGUE_MODEL=openai:gpt-5-mini OPENAI_API_KEY=…"
)
WHERE = f"It searches {FOLDER}; mails go to {SMTP_HOST}:{SMTP_PORT}, see http://127.0.0.1:{MAILS_PORT}/mails."

app = App(
    "documents",
    workflows=[tell],
    routes=[read, summarize, write, document_search],
    tools=[send],
    checks=[quoted],
    services=[
        Service(
            "mail",
            (*PYTHON, f"{__package__}.mail_service"),
            ready=f"http://127.0.0.1:{MAILS_PORT}/health",
            env=PYTHON_PATH,
        )
    ],
    notice=f"{f'{MODEL} comes first, the offline model stands in.' if MODEL else OFFLINE}\n{WHERE}",
    sample=(tell, SAMPLE),
)
