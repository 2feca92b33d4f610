"""Where every task stands, in few bytes each."""

from segue.streams.ui.index import Index, Wanted
from segue.topics import codec
from tests.page.played import status


def test_a_task_that_changed_is_listed_once_and_one_that_is_forgotten_not_at_all() -> None:
    index = Index()
    for each in (status(1, "running"), status(2), status(1, "failed"), status(3)):
        index.put(each.task, codec.encode(each))
    index.put("task-000003", None)
    index.put("task-000004", b'{"v": 99}')
    found = index.find(Wanted())
    assert [(row.task, row.state) for row in found.rows] == [
        ("task-000002", "succeeded"),
        ("task-000001", "failed"),
    ]
    assert found.counts == {"succeeded": 1, "failed": 1}
    assert index.find(Wanted(workflow="w1", text="TASK-0")).counts == {"failed": 1}
