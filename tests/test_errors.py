"""The tree of errors in the docstring is that of the classes."""

import re
from collections.abc import Iterator

from segue.topics import errors

LINE = re.compile(r"^ {4}(?P<inset>[ │├└─]*)(?P<name>\w+)")


def described() -> Iterator[tuple[str, str]]:
    """The pairs of an error and its base, by the insets of the docstring's tree."""
    above: list[tuple[int, str]] = []
    for line in (errors.__doc__ or "").splitlines():
        if (found := LINE.match(line)) is None:
            continue
        depth = len(found["inset"])
        above = [(inset, name) for inset, name in above if inset < depth]
        if above:
            yield found["name"], above[-1][1]
        above.append((depth, found["name"]))


def test_the_tree_in_the_docstring_names_each_error_under_its_base() -> None:
    ours = {
        each
        for each in vars(errors).values()
        if isinstance(each, type) and each.__module__ == errors.__name__
    }
    declared = {
        (each.__name__, each.__bases__[0].__name__) for each in ours if issubclass(each, BaseException)
    }
    assert set(described()) == declared
