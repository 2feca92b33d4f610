"""Asks models by the clients of many providers, as a worker would, and writes the table in docs/routing.md.

    python -m tests.compatibility.providers     installs the clients into an environment of its own

There is no key and no account: each client is pointed at a server on this machine that speaks its provider's
wire protocol. What that shows is Segue with the client: what comes of an answer and of each failure, and that
an attempt is one request.
"""

import asyncio
import os
import re
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Callable
from datetime import UTC, datetime
from importlib import import_module
from importlib.metadata import version
from pathlib import Path
from typing import Any

from segue.processors.app.app import App
from segue.processors.routing.routes import ModelRoute
from segue.processors.stages.reply import Reply
from segue.streams.calls.failures import problem_of
from segue.streams.executors import ModelExecutor
from segue.topics.records import Problem
from tests.executors.calls import call_model
from tests.executors.servers.provider import Failed, Provider, provider
from tests.executors.servers.wires import Said

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs/routing.md"
UV = str(Path(sys.executable).parent / "uv")
HERE = "--here"
KEYS = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "HF_TOKEN")
PLACE = {"type": "object", "properties": {"place": {"type": "string"}}, "required": ["place"]}
ANSWER_S_MAX = 30.0

Make = Callable[[str], Any]
"""The model, as a user makes it, whose provider is at this URL."""


def _openai(url: str) -> Any:
    from pydantic_ai.models.openai import OpenAIResponsesModel
    from pydantic_ai.providers.openai import OpenAIProvider

    return OpenAIResponsesModel("gpt", provider=OpenAIProvider(base_url=f"{url}/v1", api_key="k"))


def _openai_chat(url: str) -> Any:
    from pydantic_ai.models.openai import OpenAIChatModel
    from pydantic_ai.providers.openai import OpenAIProvider

    return OpenAIChatModel("gpt", provider=OpenAIProvider(base_url=f"{url}/v1", api_key="k"))


def _ollama(url: str) -> Any:
    from pydantic_ai.models.ollama import OllamaModel
    from pydantic_ai.providers.ollama import OllamaProvider

    return OllamaModel("llama", provider=OllamaProvider(base_url=f"{url}/v1"))


def _anthropic(url: str) -> Any:
    from pydantic_ai.models.anthropic import AnthropicModel
    from pydantic_ai.providers.anthropic import AnthropicProvider

    return AnthropicModel("claude", provider=AnthropicProvider(base_url=url, api_key="k"))


def _google(url: str) -> Any:
    from pydantic_ai.models.google import GoogleModel
    from pydantic_ai.providers.google import GoogleProvider

    return GoogleModel("gemini", provider=GoogleProvider(base_url=url, api_key="k"))


def _groq(url: str) -> Any:
    from pydantic_ai.models.groq import GroqModel
    from pydantic_ai.providers.groq import GroqProvider

    return GroqModel("llama", provider=GroqProvider(base_url=url, api_key="k"))


def _mistral(url: str) -> Any:
    from pydantic_ai.models.mistral import MistralModel
    from pydantic_ai.providers.mistral import MistralProvider

    return MistralModel("mistral", provider=MistralProvider(base_url=url, api_key="k"))


def _cohere(url: str) -> Any:
    from pydantic_ai.models.cohere import CohereModel
    from pydantic_ai.providers.cohere import CohereProvider

    client: Any = import_module("cohere").AsyncClientV2(base_url=url, api_key="k")  # installed there alone
    return CohereModel("command", provider=CohereProvider(cohere_client=client))


def _bedrock(url: str) -> Any:
    from pydantic_ai.models.bedrock import BedrockConverseModel
    from pydantic_ai.providers.bedrock import BedrockProvider

    return BedrockConverseModel(
        "anthropic.claude", provider=BedrockProvider(base_url=url, region_name="us-east-1")
    )


def _hugging_face(url: str) -> Any:
    from pydantic_ai.models.huggingface import HuggingFaceModel
    from pydantic_ai.providers.huggingface import HuggingFaceProvider

    return HuggingFaceModel("qwen", provider=HuggingFaceProvider(base_url=url, api_key="k"))


def _openrouter(url: str) -> Any:
    from openai import AsyncOpenAI
    from pydantic_ai.models.openai import OpenAIChatModel
    from pydantic_ai.providers.openrouter import OpenRouterProvider

    client = AsyncOpenAI(base_url=f"{url}/v1", api_key="k")
    return OpenAIChatModel("qwen/qwen3", provider=OpenRouterProvider(openai_client=client))


ALL: dict[str, tuple[str, str, Make]] = {
    "OpenAI, responses": ("openai", "openai", _openai),
    "OpenAI, chat": ("openai", "openai", _openai_chat),
    "Ollama": ("openai", "openai", _ollama),
    "OpenRouter": ("openai", "openai", _openrouter),
    "Anthropic": ("anthropic", "anthropic", _anthropic),
    "Google": ("google", "google-genai", _google),
    "Groq": ("groq", "groq", _groq),
    "Mistral": ("mistral", "mistralai", _mistral),
    "Cohere": ("cohere", "cohere", _cohere),
    "Amazon Bedrock": ("bedrock", "boto3", _bedrock),
    "Hugging Face": ("huggingface", "huggingface-hub", _hugging_face),
}
"""The extra of Pydantic AI that installs the client, the client, and how a model of it is made."""


# ---------------------------------------------------------------- in the environment of the clients


async def ask_all() -> None:
    os.environ.update(dict.fromkeys(KEYS, "k"))
    async with provider() as there:
        for name, (_, client, make) in ALL.items():
            row = [name, f"{client} {version(client)}", *await _asked(there, make)]
            print(f"| {' | '.join(row)} |", flush=True)


async def _asked(there: Provider, make: Make) -> list[str]:
    there.next = Said("quiet")
    text = await _ask(there, make)
    there.next = Said('{"place": "Faro"}', tool='{"place": "Faro"}')
    thing = await _ask(there, make, output=PLACE)
    failures: list[str] = []
    for there.next in (Failed(429, headers={"retry-after": "7"}), Failed(503), Failed(401)):
        failed = await _ask(there, make)
        failures.append(_meaning(failed) + f", {len(there.sent)} sent")
    return [_answer(text, "quiet"), _answer(thing, {"place": "Faro"}), *failures]


async def _ask(there: Provider, make: Make, **asked: Any) -> Reply | Problem:
    there.sent.clear()
    call = call_model(**asked)
    executor = ModelExecutor(App("tried", workflows=[], routes=[ModelRoute(call.route, [make(there.url)])]))
    await executor.start()
    try:
        async with asyncio.timeout(ANSWER_S_MAX):
            return await executor(call)
    except Exception as error:  # noqa: BLE001 - what it means is what is asked
        return problem_of(error)
    finally:
        await executor.stop()


def _answer(came: Reply | Problem, expected: Any) -> str:
    if isinstance(came, Problem):
        return f"failed: {came.message[:80]}"
    counted = came.usage is not None and (came.usage.input_tokens, came.usage.output_tokens) == (11, 7)
    return ("yes" if came.result == expected else "other") + ("" if counted else ", tokens not counted")


def _meaning(came: Reply | Problem) -> str:
    if isinstance(came, Reply):
        return "answered"
    if not came.retryable:
        return "permanent"
    return "retryable" if came.retry_after_s is None else f"after {came.retry_after_s:g} s"


# ---------------------------------------------------------------- outside


def main() -> None:
    with tempfile.TemporaryDirectory(prefix="segue-providers-") as directory:
        python = _installed(Path(directory))
        asked = subprocess.run(
            [python, "-m", "tests.compatibility.providers", HERE],
            cwd=ROOT, check=True, capture_output=True, text=True,
        )  # fmt: skip
    today = datetime.now(UTC).date()
    head = (
        f"| Provider | Client ({today}) | Text | Object | 429, `Retry-After: 7` | 503 | 401 |\n"
        "|---|---|---|---|---|---|---|\n"
    )
    print(head + asked.stdout, end="")
    table = f"<!-- providers -->\n{head}{asked.stdout}<!-- /providers -->"
    page = PAGE.read_text()
    PAGE.write_text(
        re.sub(r"<!-- providers -->.*<!-- /providers -->", lambda _: table, page, flags=re.DOTALL)
    )


def _installed(folder: Path) -> str:
    """An environment with the clients, over our own packages: theirs come first."""
    python = str(folder / "bin/python")
    extras = ",".join(sorted({extra for extra, _, _ in ALL.values()}))
    _run(UV, "venv", "--quiet", "--python", sys.executable, str(folder))
    _run(
        UV, "pip", "install", "--quiet", "--python", python,
        f"pydantic-ai-slim[{extras}]=={version('pydantic-ai-slim')}",
    )  # fmt: skip
    theirs = _run(python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))").strip()
    (Path(theirs) / "ours.pth").write_text(sysconfig.get_path("purelib"))
    return python


def _run(*command: str) -> str:
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


if __name__ == "__main__":
    if HERE in sys.argv:
        asyncio.run(ask_all())
    else:
        main()
