"""Read an OpenAPI document in YAML, within bounds."""

from typing import Any

import yaml

from segue.topics.errors import Permanent

CHARS_MAX = 10_000_000
"""YAML takes a minute where JSON takes a second."""

MERGED_MAX = 10_000
"""Members of one object after merging (`<<`), which may double them at each level."""


class _Loader(yaml.SafeLoader):
    def flatten_mapping(self, node: yaml.MappingNode) -> None:
        super().flatten_mapping(node)
        if len(node.value) > MERGED_MAX:
            raise Permanent(f"its document merges more than {MERGED_MAX:,} members into one object")


def parsed(text: str) -> Any:
    """Raises `Permanent`."""
    if len(text) > CHARS_MAX:
        raise Permanent(f"its document is no JSON, and YAML is read up to {CHARS_MAX:,} characters only")
    try:
        return yaml.load(text, _Loader)  # noqa: S506 - a safe loader
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise Permanent(f"its document is neither JSON nor YAML: {' '.join(str(error).split())}") from None
