"""One-line changes of a module's source, most of them by Cosmic Ray's operators."""

# pyright: basic, reportMissingImports=false

import difflib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import parso
from cosmic_ray.ast import ast_nodes, get_ast
from cosmic_ray.mutating import mutate_code
from cosmic_ray.plugins import get_operator
from parso.tree import search_ancestor

BY_COSMIC_RAY = (
    "AddNot",
    "NumberReplacer",
    "ReplaceAndWithOr",
    "ReplaceBinaryOperator_Add_Sub",
    "ReplaceBinaryOperator_Sub_Add",
    "ReplaceBreakWithContinue",
    "ReplaceComparisonOperator_Eq_NotEq",
    "ReplaceComparisonOperator_GtE_Gt",
    "ReplaceComparisonOperator_Gt_GtE",
    "ReplaceComparisonOperator_Is_IsNot",
    "ReplaceComparisonOperator_IsNot_Is",
    "ReplaceComparisonOperator_LtE_Lt",
    "ReplaceComparisonOperator_Lt_LtE",
    "ReplaceComparisonOperator_NotEq_Eq",
    "ReplaceContinueWithBreak",
    "ReplaceFalseWithTrue",
    "ReplaceOrWithAnd",
    "ReplaceTrueWithFalse",
    "ReplaceUnaryOperator_Delete_Not",
    "ZeroIterationForLoop",
)

HARMLESS = ("log.", "assert ", "self._metrics.", "self._failures.")
"""Statements that are not removed: what they do is no promise, or they are checks themselves."""


class RemoveStatement:
    """Removes a call, or a change of an attribute, of an element or by an operator like `+=`."""

    def mutation_positions(self, node: Any) -> Iterator[Any]:
        if node.type == "simple_stmt" and _has_effect(node.children[0]):
            yield node.start_pos, node.end_pos

    def mutate(self, node: Any, index: int) -> Any:
        prefix = node.children[0].get_first_leaf().prefix
        node.children[0] = parso.parse(f"{prefix}pass")
        return node


def _has_effect(statement: Any) -> bool:
    code = statement.get_code(include_prefix=False)
    if code.startswith(HARMLESS):
        return False
    if statement.type in ("atom_expr", "power", "await_stmt", "del_stmt"):
        return True
    return bool(statement.type == "expr_stmt" and statement.children[0].type != "name")


OPERATORS: dict[str, Any] = {
    "RemoveStatement": RemoveStatement(),
    **{name: get_operator(f"core/{name}")() for name in BY_COSMIC_RAY},
}


@dataclass(frozen=True)
class Mutant:
    """The change that an operator makes at its `occurrence`-th place in the file at `path`."""

    path: Path
    line: int
    statement: int
    """The line on which its statement begins."""
    operator: str
    occurrence: int

    def source(self) -> str:
        """Return the text of the whole file, changed."""
        return str(mutate_code(self.path.read_text(), OPERATORS[self.operator], self.occurrence))

    def __str__(self) -> str:
        lines = difflib.unified_diff(
            self.path.read_text().splitlines(), self.source().splitlines(), lineterm="", n=0
        )
        changed = [line for line in lines if line[:3] not in ("---", "+++", "@@ ")]
        return "\n".join([f"{self.path}:{self.line} {self.operator}", *changed])


def mutants(path: Path) -> Iterator[Mutant]:
    """Yield each mutant of the functions in a file."""
    tree = get_ast(path.read_text())
    for name, operator in OPERATORS.items():
        places = ((node, start) for node in ast_nodes(tree) for start, _ in operator.mutation_positions(node))
        for occurrence, (node, (line, _)) in enumerate(places):
            if _is_worth_a_try(node):
                yield Mutant(path, line, _statement(node), name, occurrence)


def _statement(node: Any) -> int:
    while node.parent.type not in ("suite", "file_input"):
        node = node.parent
    return int(node.start_pos[0])


def _is_worth_a_try(node: Any) -> bool:
    """False outside of functions, in constructors, whose loss shows at once, and in assertions."""
    function: Any = search_ancestor(node, "funcdef")
    inside = function is not None and function.name.value != "__init__"
    return inside and node.type != "assert_stmt" and search_ancestor(node, "assert_stmt") is None
