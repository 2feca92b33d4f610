"""A source of tasks for each test."""

import pytest

from tests.page.played import Played


@pytest.fixture
def source() -> Played:
    return Played()
