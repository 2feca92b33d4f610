"""What `segue` exports is exact: a name added or lost is a decision, and stands in the CHANGELOG."""

import segue


def test_the_public_names_are_sorted_and_there() -> None:
    assert segue.__all__ == sorted(segue.__all__)
    assert [name for name in segue.__all__ if not hasattr(segue, name)] == []


def test_the_public_names_are_exact() -> None:
    assert segue.__all__ == [
        "App", "Attempt", "BadInput", "BadRecord", "Blob", "Check", "McpServer", "ModelCandidate",
        "ModelRoute", "OpenApi", "Option", "Permanent", "Policy", "Problem", "Refused", "Result",
        "Retryable", "Saga", "Schedule", "SegueError", "Service", "Status", "StepError", "Task", "Tool",
        "ToolRoute", "Unavailable", "UnknownName", "Workflow", "check", "current_attempt", "tool", "workflow",
    ]  # fmt: skip
