"""What `segue` exports is exact: a name added or lost is a decision, and stands in the CHANGELOG."""

import subprocess
import sys

import segue
from segue import testing


def test_the_public_names_are_sorted_and_there() -> None:
    assert segue.__all__ == sorted(segue.__all__, key=lambda name: (not name.isupper(), name))
    assert [name for name in segue.__all__ if not hasattr(segue, name)] == []


def test_the_public_names_are_exact() -> None:
    assert segue.__all__ == [
        "BUGS",
        "App", "Attempt", "BadInput", "BadRecord", "Blob", "Budget", "BudgetExceeded", "CallInfo",
        "CandidateStats", "Check", "CircuitBreaker", "Client", "Limit", "McpServer", "ModelCandidate",
        "ModelRoute", "OpenApi", "Option", "OutputRejected", "Permanent", "Policy", "Price", "Problem",
        "Refusal", "Result", "Retryable", "Saga", "Schedule", "SegueError", "Selection", "Service", "Spent",
        "Status", "StepError", "Task", "TaskFailed", "Tool", "ToolRoute", "Unavailable", "UnknownName",
        "Workflow", "by_size", "cheapest", "check", "current_attempt", "fastest", "healthiest", "judge",
        "tool", "workflow",
    ]  # fmt: skip


def test_what_tests_import_is_exact_and_sorted() -> None:
    assert testing.__all__ == [
        "Call", "DeadLetter", "NoResult", "NotDurable", "Rehearsal", "crash_everywhere", "in_turn",
    ]  # fmt: skip


def test_tests_need_no_pytest_and_workers_nothing_of_tests() -> None:
    code = (
        "import sys, segue; print('segue.testing' in sys.modules); "
        "import segue.testing; print('pytest' in sys.modules)"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout.split() == ["False", "False"]


def test_the_import_pulls_in_no_provider_and_nothing_that_speaks_to_the_world() -> None:
    heavy = ("aiokafka", "anthropic", "faust", "httpx", "mcp", "openai", "pydantic_ai", "rocksdict")
    code = f"import sys, segue; print([name for name in {heavy} if name in sys.modules])"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == "[]"


def test_the_client_is_there_by_the_same_import_and_nothing_else_is() -> None:
    from segue import Client

    assert Client.__module__ == "segue.streams.client.client"
    assert not hasattr(segue, "Server")
