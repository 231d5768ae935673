"""Find the sentences that a test pins, so that nobody can improve them without a change of the test.

A test asserts a reason, a number, a name or a command. A text of another program (Envoy, V8, a library) is a named
constant of the test's module; such a name is not read here.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from typing import TypeAlias

Function: TypeAlias = ast.FunctionDef | ast.AsyncFunctionDef

# three words in a row, the last two without a capital: a part of a sentence, and no name, command or path
PROSE = re.compile(r"(?<![\w/.\-])[A-Za-z][a-z']*,?(?: [a-z][a-z']*,?){2,}(?![\w/=])")
COMMAND = re.compile(r"^(?:kubectl|pluginrelease|helm|istioctl|cosign|docker) ")


def find(source: str) -> Iterator[tuple[int, str]]:
    """Yield line and text of each sentence that the tests of a module pin.

    Asserts, the messages that errors must match, and columns of a table of cases are read. A text that the module also
    uses outside of these is a value that the test itself gave: it comes back, and is not pinned.
    """
    tree = ast.parse(source)
    pinned = [*find_asserted(tree), *find_in_tables(tree)]
    given = list_given(tree, set(pinned))
    for node in pinned:
        if is_prose(node.value) and not any(node.value in text for text in given):
            yield node.lineno, " ".join(str(node.value).split())


def is_prose(value: object) -> bool:
    """Return True for a text with three or more words of prose in a row that is no command."""
    return isinstance(value, str) and PROSE.search(value) is not None and COMMAND.match(value) is None


def list_given(tree: ast.Module, pinned: set[ast.Constant]) -> list[str]:
    """Return all other texts of a module, without its docstrings."""
    docstrings = {node.value for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    texts = (node for node in ast.walk(tree) if isinstance(node, ast.Constant) and isinstance(node.value, str))
    return [str(node.value) for node in texts if node not in pinned and node not in docstrings]


def find_asserted(tree: ast.AST) -> Iterator[ast.Constant]:
    """Yield the texts in asserts, and in what the message of an error must match."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Assert):
            yield from find_texts(node.test)
        elif isinstance(node, ast.keyword) and node.arg == "match":
            yield from find_texts(node.value)


def find_texts(node: ast.AST) -> Iterator[ast.Constant]:
    """Yield the texts in an expression."""
    return (text for text in ast.walk(node) if isinstance(text, ast.Constant) and isinstance(text.value, str))


def find_in_tables(tree: ast.Module) -> Iterator[ast.Constant]:
    """Yield the texts of those columns of ``parametrize`` that a test compares."""
    tables = {name.id: node.value for node in tree.body for name in list_targets(node) if node.value is not None}
    for function in ast.walk(tree):
        if isinstance(function, Function):
            compared = set(find_compared(function))
            for column, cell in list_cells(function, tables):
                if column in compared:
                    yield from find_texts(cell)


def list_targets(node: ast.stmt) -> list[ast.Name]:
    """Return the names that a statement gives a value to."""
    targets = node.targets if isinstance(node, ast.Assign) else [node.target] if isinstance(node, ast.AnnAssign) else []
    return [target for target in targets if isinstance(target, ast.Name)]


def find_compared(function: Function) -> Iterator[str]:
    """Yield the names that a test compares as they are, or each item of which it compares."""
    asserted = [part for node in ast.walk(function) if isinstance(node, ast.Assert) for part in ast.walk(node.test)]
    matched = [node for node in ast.walk(function) if isinstance(node, ast.keyword) and node.arg == "match"]
    for node in [*asserted, *matched]:
        parts: list[ast.expr] = []
        if isinstance(node, ast.Compare):
            parts = [node.left, *node.comparators]
        elif isinstance(node, ast.comprehension):
            parts = [node.iter]
        elif isinstance(node, ast.keyword):
            parts = [node.value] if node.arg == "match" else []
        yield from (part.id for part in parts if isinstance(part, ast.Name))


def list_cells(function: Function, tables: dict[str, ast.expr]) -> Iterator[tuple[str, ast.expr]]:
    """Yield each cell of a test's tables with the name of its column."""
    for mark in function.decorator_list:
        if not isinstance(mark, ast.Call) or not ast.unparse(mark.func).endswith("parametrize") or len(mark.args) < 2:
            continue
        columns = list_columns(mark.args[0])
        rows = tables.get(mark.args[1].id, mark.args[1]) if isinstance(mark.args[1], ast.Name) else mark.args[1]
        for row in rows.elts if isinstance(rows, ast.List | ast.Tuple) else []:
            yield from zip(columns, list_row(row, len(columns)), strict=False)


def list_columns(names: ast.expr) -> list[str]:
    """Return the names of the columns of a table."""
    return [column.strip() for text in find_texts(names) for column in str(text.value).split(",")]


def list_row(row: ast.expr, columns: int) -> list[ast.expr]:
    """Return the cells of one row."""
    if isinstance(row, ast.Call) and ast.unparse(row.func).endswith("param"):
        return row.args
    return row.elts if columns > 1 and isinstance(row, ast.List | ast.Tuple) else [row]
