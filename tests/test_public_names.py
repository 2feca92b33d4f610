"""What `segue` exports is exact: a name added or lost is a decision, and stands in the CHANGELOG."""

import segue


def test_the_public_names_are_sorted_and_there() -> None:
    assert segue.__all__ == sorted(segue.__all__)
    assert [name for name in segue.__all__ if not hasattr(segue, name)] == []


def test_the_public_names_are_exact() -> None:
    assert segue.__all__ == [
        "App", "Asked", "Attempt", "BadInput", "BadRecord", "Blob", "Budget", "BudgetExceeded", "Check",
        "Chosen", "Known", "McpServer", "ModelCandidate", "ModelRoute", "OpenApi", "Option", "Permanent",
        "Policy", "Price", "Problem", "Refusal", "Refused", "Result", "Retryable", "Saga", "Schedule",
        "SegueError", "Service", "Spent", "Status", "StepError", "Task", "Tool", "ToolRoute",
        "Unavailable", "UnknownName", "Workflow", "by_size", "cheapest", "check", "current_attempt",
        "fastest", "healthiest", "judge", "tool", "workflow",
    ]  # fmt: skip
