"""Imports that a fix needs, or leaves unused, in the style of the file."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterable

from unstall.model import Edit
from unstall.source.trees import Tree, own_nodes

POOL = "run_in_threadpool"
_POOL_HOMES = ("starlette.concurrency", "fastapi.concurrency")
_NEEDED = {"asyncio": "import asyncio", POOL: "from starlette.concurrency import run_in_threadpool"}


def bound_as(tree: Tree, needed: str) -> str | None:
    """What ``asyncio`` or ``run_in_threadpool`` is called in this file; None where the file does not import it."""
    for node in tree.module.body:
        if needed == "asyncio" and isinstance(node, ast.Import):
            for alias in node.names:
                if alias.name == "asyncio":
                    return alias.asname or "asyncio"
        if needed == POOL and isinstance(node, ast.ImportFrom) and node.module in _POOL_HOMES and not node.level:
            for alias in node.names:
                if alias.name == POOL:
                    return alias.asname or POOL
    return None


def taken(tree: Tree, function: ast.AST, name: str) -> bool:
    """True where ``name`` would mean something else than the import in this function."""
    scopes: list[ast.AST] = [function, *tree.around(function)]
    for scope in scopes:
        if isinstance(scope, ast.ClassDef) or not isinstance(
            scope, ast.FunctionDef | ast.AsyncFunctionDef | ast.Module
        ):
            continue
        for node in own_nodes(scope):
            if name in bindings(node):
                at_top = isinstance(scope, ast.Module) and isinstance(node, ast.Import | ast.ImportFrom)
                if not (at_top and _is_it(node, name)):
                    return True
        if isinstance(scope, ast.FunctionDef | ast.AsyncFunctionDef) and name in parameters(scope):
            return True
    return False


def _is_it(node: ast.AST, name: str) -> bool:
    if isinstance(node, ast.Import):
        return any(
            (a.asname or a.name.partition(".")[0]) == name and a.name.partition(".")[0] == "asyncio" for a in node.names
        )
    if isinstance(node, ast.ImportFrom):
        return any((a.asname or a.name) == name and a.name == POOL and node.module in _POOL_HOMES for a in node.names)
    return False


def bindings(node: ast.AST) -> tuple[str, ...]:
    """The names that this one node binds."""
    if isinstance(node, ast.Name):
        return () if isinstance(node.ctx, ast.Load) else (node.id,)
    if isinstance(node, ast.Import):
        return tuple(a.asname or a.name.partition(".")[0] for a in node.names)
    if isinstance(node, ast.ImportFrom):
        return tuple(a.asname or a.name for a in node.names)
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        return (node.name,)
    if isinstance(node, ast.ExceptHandler | ast.MatchAs | ast.MatchStar) and node.name:
        return (node.name,)
    if isinstance(node, ast.MatchMapping) and node.rest:
        return (node.rest,)
    return ()


def parameters(function: ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda) -> set[str]:
    """The names of a function's parameters."""
    a = function.args
    every = [*a.posonlyargs, *a.args, *a.kwonlyargs, *([a.vararg] if a.vararg else []), *([a.kwarg] if a.kwarg else [])]
    return {arg.arg for arg in every}


# --- adding ---------------------------------------------------------------------------------------------


def adding(tree: Tree, needs: Iterable[str], own: frozenset[str] = frozenset()) -> list[Edit]:
    """Edits that import what is needed where the file does not yet. ``own`` are the project's top-level names."""
    return [_insert(tree, _NEEDED[name], own) for name in sorted(needs) if bound_as(tree, name) is None]


def _insert(tree: Tree, line: str, own: frozenset[str]) -> Edit:
    new = ast.parse(line).body[0]
    assert isinstance(new, ast.Import | ast.ImportFrom)
    block = _import_block(tree)
    group = [node for node in block if _group(node, own) == _group(new, own)]
    nl = tree.newline
    if group:
        before = next((node for node in group if _order(node) > _order(new)), None)
        if before is not None:
            at = tree.line_start(before.lineno)
            return Edit(tree.path, at, at, line + nl)
        return _after(tree, group[-1], line, nl)
    earlier = [node for node in block if _group(node, own) < _group(new, own)]
    if earlier:
        return _after(tree, earlier[-1], nl + line, nl)
    if block:
        at = tree.line_start(block[0].lineno)
        return Edit(tree.path, at, at, line + nl + nl)
    body = tree.module.body
    if (
        body
        and isinstance(body[0], ast.Expr)
        and isinstance(body[0].value, ast.Constant)
        and isinstance(body[0].value.value, str)
    ):
        return _after(tree, body[0], nl + line, nl)
    first = min((d.lineno for d in getattr(body[0], "decorator_list", [])), default=body[0].lineno) if body else 1
    first = _above_comments(tree, first)
    at = tree.line_start(first)
    return Edit(tree.path, at, at, line + nl + nl)


def _after(tree: Tree, node: ast.stmt, text: str, newline: str) -> Edit:
    last = node.end_lineno or node.lineno
    at = tree.line_start(last + 1)
    ended = tree.lines[last - 1].endswith(("\n", "\r"))
    return Edit(tree.path, at, at, text + newline if ended else newline + text)


def _above_comments(tree: Tree, line: int) -> int:
    """A comment right above the first statement belongs to it; the lines for the interpreter stay first."""
    while line > 1 and tree.lines[line - 2].startswith("#") and not tree.lines[line - 2].startswith("#!"):
        if "coding" in tree.lines[line - 2]:
            break
        line -= 1
    return line


def _import_block(tree: Tree) -> list[ast.stmt]:
    """The imports at the head of the module, each alone on its lines."""
    found: list[ast.stmt] = []
    for number, node in enumerate(tree.module.body):
        if isinstance(node, ast.Import | ast.ImportFrom):
            if isinstance(node, ast.ImportFrom) and node.module == "__future__" or _alone(tree, node):
                found.append(node)
        elif found and not (isinstance(node, ast.Expr) and number == 0):
            break
    return found


def _alone(tree: Tree, node: ast.stmt) -> bool:
    before = tree.text[tree.line_start(node.lineno) : tree.start(node)]
    after = tree.text[tree.end(node) : tree.line_start((node.end_lineno or node.lineno) + 1)]
    return not before.strip() and not after.split("#")[0].strip()


def _group(node: ast.stmt, own: frozenset[str]) -> int:
    """isort's sections: future, standard library, third party, the project's own."""
    if isinstance(node, ast.ImportFrom):
        if node.level:
            return 4
        top = (node.module or "").partition(".")[0]
    else:
        assert isinstance(node, ast.Import)
        top = node.names[0].name.partition(".")[0]
    if top == "__future__":
        return 0
    return 1 if top in sys.stdlib_module_names else 3 if top in own else 2


def _order(node: ast.stmt) -> tuple[int, str]:
    if isinstance(node, ast.ImportFrom):
        return 1, "." * node.level + (node.module or "").lower()
    assert isinstance(node, ast.Import)
    return 0, node.names[0].name.lower()


# --- removing -------------------------------------------------------------------------------------------


def dropping(tree: Tree, names: Iterable[str]) -> list[Edit]:
    """Edits that remove the imports of these names where nothing in the file speaks of them any more.

    An import with a comment stays: somebody had a reason.
    """
    edits: list[Edit] = []
    for name in sorted(set(names)):
        uses = sum(isinstance(n, ast.Name) and n.id == name for n in tree.nodes)
        spoken = any(
            isinstance(n, ast.Constant) and isinstance(n.value, str) and name in n.value.replace(".", " ").split()
            for n in tree.nodes
            if not _is_docstring(tree, n)
        )
        found = [n for n in tree.nodes if isinstance(n, ast.Import | ast.ImportFrom) and name in bindings(n)]
        if not uses and not spoken and len(found) == 1:
            edits += _without(tree, found[0], name)
    return edits


def _is_docstring(tree: Tree, node: ast.Constant | ast.AST) -> bool:
    return isinstance(tree.parents.get(node), ast.Expr)


def _without(tree: Tree, node: ast.stmt, name: str) -> list[Edit]:
    assert isinstance(node, ast.Import | ast.ImportFrom)
    first, last = node.lineno, node.end_lineno or node.lineno
    if not _alone(tree, node) or any("#" in line for line in tree.lines[first - 1 : last]):
        return []
    kept = [a for a in node.names if (a.asname or a.name.partition(".")[0]) != name and (a.asname or a.name) != name]
    if not kept:
        parent = tree.parents[node]
        suite = getattr(parent, "body", [])
        if node not in suite or len(suite) == 1:
            return []
        if first > 1 and (suite[0] is node or not tree.lines[first - 2].strip()) and not isinstance(parent, ast.Module):
            while last < len(tree.lines) and not tree.lines[last].strip():
                last += 1
        return [Edit(tree.path, tree.line_start(first), tree.line_start(last + 1), "")]
    gone = next(i for i, a in enumerate(node.names) if a not in kept)
    if gone + 1 < len(node.names):
        start, end = tree.start_of(node.names[gone]), tree.start_of(node.names[gone + 1])
    else:
        start, end = tree.end_of(node.names[gone - 1]), tree.end_of(node.names[gone])
    return [Edit(tree.path, start, end, "")]
